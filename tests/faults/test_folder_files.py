"""The files of a folder: killed writers, words that are behind, rows that move."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copyfile

import pytest

from encoder.space import Space
from encoder.types import TEXT, Item
from search import Query, SearchEngine
from search.errors import StoreBusyError
from search.store import locks
from search.store.base import VectorStore
from search.store.folder import store as folder_store
from search.store.folder import vector_files as files
from search.store.folder import words as kept
from search.store.folder import writing
from search.store.folder.database import Database, set_fact
from search.store.folder.store import FolderStore
from search.store.folders import CONTENT, LOCK
from search.store.memory import MemoryStore
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    opened,
    segment,
    vectors,
)
from tests.support.encoders import Alike

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, writing):
        monkeypatch.setattr(module, "CHUNK", 32)
    monkeypatch.setattr(files, "STEP", 8)
    monkeypatch.setattr(files, "_FEW", 8)
    monkeypatch.setattr(writing, "MOVED_AT_ONCE", 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def oracle(folder: Path) -> Iterator[MemoryStore]:
    """What is in the folder: more than a chunk of each kind, and texts."""
    with closing(opened(folder)) as store, closing(MemoryStore(DIM, CALIBRATION)) as oracle:
        for each in (store, oracle):
            _fill(each)
        yield oracle


def _fill(store: VectorStore) -> None:
    words = [
        segment("words", number, row, TEXT, snippet=f"number {number} of twelve")
        for number, row in enumerate(vectors(12, seed=5))
    ]
    assets, segments = corpus(90)
    store.write([*assets, asset("words", "/w", modality=TEXT, n_segments=12)], [*segments, *words])
    store.delete(["asset0-0"])


def assert_whole(store: FolderStore) -> None:
    """A check of everything finds nothing, and all is found by words and names."""
    assert store.check(lambda *_: None).wrong == {}
    store.read_names(lambda: False)
    in_data = {hit.segment_id for hit in store.named("data", 10_000)}
    rows = [row for row in store.scan() if any(uri.startswith("/data") for uri in row.locations)]
    assert in_data == {row.asset_id for row in rows}


def test_kinds_with_many_rows_are_searched_side_by_side(
    folder: Path, oracle: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(opened(folder)) as store:
        store.search(vectors(1), [TEXT], 1)
        assert store.in_process
        monkeypatch.setattr(folder_store, "_FEW_ROWS", 10)
        assert not store.in_process
        assert_same_answers(store, oracle)


@pytest.mark.usefixtures("oracle")
def test_words_are_found_in_files_and_in_the_tail(folder: Path) -> None:
    (row,) = vectors(1)
    with closing(opened(folder)) as store:
        assert store._words.n_unread() == 12 + 3 * 31  # those of the corpus have no words
        assert len(store.lexical("twelve", 20)) == 12
        store._words.feed()
        assert store._words.n_unread() == 0
        assert len(store.lexical("twelve", 20)) == 12
        new = segment("new", 0, row, TEXT, snippet="twelve herons")
        store.write([asset("new", modality=TEXT)], [new])
        assert store._words.n_unread() == 1
        hits = store.lexical("twelve", 20)
        assert len(hits) == 13
        assert store.frequencies(["twelve"]).of["twelve"] == 13
        # What is in the files under the same key is not found by its former words.
        texts = [r for r in store.embeddings("words") if "number 3 " in r.snippet]
        changed = segment("words", texts[0].index, row, TEXT, snippet="a regatta")
        store.write([], [changed])
        assert len(store.lexical("twelve", 20)) == 12
        assert [hit.segment_id for hit in store.lexical("regatta", 20)] == [changed.segment_id]
        store.delete(["words"])
        assert [hit.asset_id for hit in store.lexical("twelve", 20)] == ["new"]
        assert_whole(store)
    with closing(opened(folder)) as store:
        assert [hit.asset_id for hit in store.lexical("twelve", 20)] == ["new"]
        store._words.feed()
        assert [hit.asset_id for hit in store.lexical("twelve", 20)] == ["new"]
        assert_whole(store)


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("fault", ["a stuck writer", "no memory"])
def test_words_that_cannot_be_brought_up_to_date_are_the_old_ones_and_say_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Another process holds the index and never comes back, or this one has no room for more."""
    (row,) = vectors(1)
    with closing(opened(folder)) as store, closing(opened(folder)) as other:
        store._words.feed()
        with other._words._feeding(waits=False) as holds:
            assert holds
            if fault == "no memory":
                monkeypatch.setattr(store._words, "_read_tail", _fails)
            else:
                monkeypatch.setattr(kept, "AT_ONCE", 4)
            new = [segment("new", n, row, TEXT, snippet=f"heron {n}") for n in range(6)]
            other.write([asset("new", modality=TEXT, n_segments=6)], new)
            encoder = Alike(Space(DIM, {"model": "vectors"}))
            with closing(SearchEngine(encoder, store)) as engine:
                query = Query([Item(TEXT, "number 3 of twelve")], modalities=[TEXT], explain=True)
                result = engine.search(query)
        assert any("words" in warning for warning in result.warnings)
        by_words = [hit for hit in result.hits if hit.explanation and hit.explanation.words]
        assert "number 3 of twelve" in {hit.snippet for hit in by_words}
        monkeypatch.undo()
        store._words.feed(waits=True)
        assert len(store.lexical("heron", 20)) == 6
        assert_whole(store)


def _fails(_: object) -> None:
    raise OSError(12, "Cannot allocate memory")


@pytest.mark.usefixtures("oracle")
def test_a_stuck_writer_is_told_and_keeps_nobody_from_searching(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 0.2)
    with closing(opened(folder)) as store, (folder / CONTENT / LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreBusyError, match=str(folder)):
            store.write([asset("late", n_segments=0)], [])
        assert len(store.lexical("twelve", 20)) == 12
        fcntl.flock(held, fcntl.LOCK_UN)
        store.write([asset("late", n_segments=0)], [])
        assert "late" in store.assets(["late"])


def test_a_search_writes_no_file(folder: Path, oracle: MemoryStore) -> None:
    with closing(opened(folder)) as store:
        assert_same_answers(store, oracle)  # SQLite makes its shared memory
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert len(store.lexical("twelve", 20)) == 12
        store.read_names(lambda: False)
        assert len(store.named("data", 200)) == 89
        assert_same_answers(store, oracle)
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.usefixtures("oracle")
def test_texts_that_are_added_again_outlast_many_deletions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        (asset(f"t{n}", modality=TEXT), segment(f"t{n}", 0, row, TEXT, snippet="heron"))
        for n, row in enumerate(vectors(10))
    ]
    assets, segments = [row for row, _ in texts], [row for _, row in texts]
    ids = [row.asset_id for row in assets]
    with closing(opened(folder)) as store:
        store.write(assets, segments)
        monkeypatch.setattr(kept, "AT_ONCE", 4)
        store._words.feed()
        assert len(store.lexical("heron", 20)) == 10
        store.delete(ids)
        store.write(assets, segments[::-1])
        store._words.feed()
        assert {hit.asset_id for hit in store.lexical("heron", 20)} == set(ids)
        monkeypatch.undo()
        assert_whole(store)


_TABLES = """
import sys
from pathlib import Path
from shutil import copyfile
from search.store.folder.database import Database, fact
database = Database(Path(sys.argv[1]))
with database.reading() as db:
    print(fact(db, "n"))
database.close()
"""


def test_who_opens_a_database_again_keeps_the_locks_of_those_that_are_open(tmp_path: Path) -> None:
    """Or the next process would believe to be the last, and remove the log while it is in use."""

    def seen_by_another() -> str:
        words = [sys.executable, "-c", _TABLES, str(path)]
        return subprocess.check_output(words, cwd=ROOT, text=True, timeout=60).strip()

    path = tmp_path / "store.db"
    Database.make(path)
    database = Database(path)
    for n in range(3):
        with database.writing() as db:
            set_fact(db, "n", n)
        Database(path).close()
        assert seen_by_another() == str(n)
    database.close()


_CHECKED = f"""
import sys
from search.store.open import open_store
from tests.contract.rows import asset
store = open_store(sys.argv[1], {SPACE!r}, {DIM})
if not store.count():
    store.write([asset("a", "/the/harbour/at/nine in the morning.png", n_segments=0)], [])
    store._names.feed()
print(store.check(lambda *_: None).wrong)
store.close()
"""


def test_a_check_knows_the_names_that_another_process_has_read(folder: Path) -> None:
    for seed in ("1", "2"):  # of hashes, by which sets are ordered
        words = [sys.executable, "-c", _CHECKED, str(folder)]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        assert subprocess.check_output(words, cwd=ROOT, env=env, text=True, timeout=60) == "{}\n"


_KILLED = """
import os, signal, sys
from search.lexical.index import WordIndex
from search.store.folder import store as folder_store
from search.store.folder import database, vector_files, words, writing
from search.store.folder.database import Database
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, corpus
vector_files.CHUNK = writing.CHUNK = 32
writing.MOVED_AT_ONCE = 20
store = open_store(sys.argv[1], SPACE, DIM)
at = {"before the vectors": (vector_files.VectorFiles, "append"),
      "before the rows": (writing, "_put_assets"),
      "before the counter": (database, "write_counter"),
      "before the codes": (vector_files.VectorFiles, "complete"),
      "before the log is copied": (Database, "checkpoint"),
      "before the move": (folder_store, "move_some"),
      "before the sweep": (folder_store.FolderStore, "_sweep"),
      "in the index of words": (WordIndex, "commit"),
      "before words are noted": (words.KeptIndex, "_note")}
owner, name = at[sys.argv[2]]
assets, segments = corpus(6, seed=1)
if "move" in sys.argv[2] or "sweep" in sys.argv[2]:
    store.write(assets, segments)
setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
if "words" in sys.argv[2]:
    store._words.feed()
elif "move" in sys.argv[2] or "sweep" in sys.argv[2]:
    store.delete([f"asset0-{n}" for n in range(80)])
else:
    store.write(assets, segments)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    ["before the vectors", "before the rows", "before the counter", "before the codes",
     "before the log is copied", "before the move", "before the sweep", "in the index of words",
     "before words are noted"],
)  # fmt: skip
def test_a_writer_killed_at_any_step_leaves_the_store_whole(
    folder: Path, oracle: MemoryStore, place: str
) -> None:
    words = [sys.executable, "-c", _KILLED, str(folder), place]
    assert subprocess.run(words, cwd=ROOT, timeout=120).returncode == -signal.SIGKILL
    with closing(opened(folder)) as store:
        assert_whole(store)
        assert store.count() in (89 + 1, 89 + 1 + 6, 10 + 1 + 6)
        for each in (store, oracle):
            each.write(*corpus(6, seed=1))
            each.delete([f"asset0-{number}" for number in range(80)])
        assert_whole(store)
        assert_same_answers(store, oracle)
        assert len(store.lexical("twelve", 20)) == 12


def test_scattered_rows_are_moved_some_at_a_time(folder: Path, oracle: MemoryStore) -> None:
    ids = [f"asset0-{number}" for number in range(80)]
    with closing(opened(folder)) as store, closing(opened(folder)) as reader:
        assert_same_answers(reader, oracle)
        before = {path.name for path in folder.rglob("*.rows")}
        for each in (store, oracle):
            each.delete(ids)
        assert {path.name for path in folder.rglob("*.rows")} - before
        for each in (store, reader):
            assert_same_answers(each, oracle)
            assert len(each.lexical("twelve", 20)) == 12
        for each in (store, oracle):
            each.write(*corpus(80, seed=2))
            each.delete([f"asset2-{number}" for number in range(80)])
        assert before - {path.name for path in folder.rglob("*.rows")}, "nothing was swept"
        for each in (store, reader):
            assert_same_answers(each, oracle)
            assert_whole(each)


@pytest.mark.usefixtures("oracle")
def test_a_check_makes_lost_words_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are too many to be read by a search."""
    with closing(opened(folder)) as store:
        store._words.feed()
    for path in folder.glob("content/words-*.*/meta.json"):
        path.unlink()
    monkeypatch.setattr(kept, "AT_ONCE", 4)
    with closing(opened(folder)) as store:
        assert store.check(lambda *_: None).wrong == {}
        assert len(store.lexical("twelve", 20)) == 12


def test_a_copy_of_a_living_store_is_whole(folder: Path, oracle: MemoryStore) -> None:
    with closing(opened(folder)) as store:
        store.backup(folder.parent / "copy")
        copyfile(folder / "current.json", folder.parent / "copy" / "current.json")
        store.write(*corpus(6, seed=1))
    with closing(opened(folder.parent / "copy")) as copy:
        assert_whole(copy)
        assert_same_answers(copy, oracle)
        assert len(copy.lexical("twelve", 20)) == 12
