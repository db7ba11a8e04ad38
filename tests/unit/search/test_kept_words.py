"""A word index on disk: the next process goes on with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.lexical.index import IndexedText, WordIndex
from search.store.milvus.mirrored_words import KeptFolder

_KILLED = """
import os, signal, sys
from pathlib import Path
from search.store.milvus.mirrored_words import KeptFolder
folder = KeptFolder(Path(sys.argv[1]))
folder.keep({"a": 1})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_index_outlasts_its_object(tmp_path: Path) -> None:
    folder = KeptFolder(tmp_path / "words")
    assert folder.known() == {}
    index = WordIndex(folder=folder.path)
    index.add([IndexedText("s1", "a", "blue sea"), IndexedText("s2", "b", "red sea")])
    index.commit()
    folder.keep({"a": 1, "b": 1})
    index.close()
    del index
    folder.close()
    again = KeptFolder(tmp_path / "words")
    assert (again.path, again.known()) == (folder.path, {"a": 1, "b": 1})
    index = WordIndex(folder=again.path)
    again.forget(["b"])
    index.remove(["b"])
    index.commit()
    assert [found.segment_id for found in index.find("sea", 5)] == ["s1"]
    again.close()
    third = KeptFolder(tmp_path / "words")
    assert third.known() == {"a": 1}  # so that it is read if another adds it again
    third.keep({"a": 1, "b": 1})
    assert third.known() == {"a": 1, "b": 1}
    third.close()


def test_two_processes_have_folders_of_their_own_and_a_dead_one_leaves_none(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _KILLED, str(tmp_path)]
    root = Path(__file__).parents[3]
    killed = subprocess.run(words, cwd=root, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    one, other = KeptFolder(tmp_path), KeptFolder(tmp_path)
    assert one.path != other.path
    assert (one.known(), other.known()) == ({"a": 1}, {})
    one.clear()
    assert one.known() == {}
    one.close()
    other.close()


def test_what_is_no_index_is_said(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text("{")
    with pytest.raises((ValueError, OSError)):
        WordIndex(folder=tmp_path)
