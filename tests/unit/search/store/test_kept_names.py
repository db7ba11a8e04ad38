"""A folder keeps an index of what its assets are called."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from search.lexical.index import IndexedText
from search.store.folder import words as kept
from search.store.folder.database import Connection
from search.store.folder.store import FolderStore
from search.store.name_index import NameIndex
from search.types import GONE_SINCE
from tests.contract.rows import asset, opened, segment, vectors
from tests.support.waiting import wait_for

N_ASSETS = 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = opened(folder := tmp_path / "store")
    rows = [asset(f"a{n}", f"/data/Holiday/IMG_{n:04}.jpg") for n in range(N_ASSETS)]
    segments = [segment(f"a{n}", 0, row) for n, row in enumerate(vectors(N_ASSETS))]
    store.write(rows, segments)
    store.close()
    return folder


def found(store: FolderStore, text: str) -> set[str]:
    """What a new engine finds."""
    names = NameIndex(store)
    names.begin()
    try:
        wait_for(names.is_read, 60, "reading names")
        return {one for one, part in names.find(text, with_folders=True).items() if part == 1}
    finally:
        names.close()


def test_the_next_process_reads_no_commit_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(folder)
    assert found(store, "IMG 0003") == {"a3"}
    assert len(found(store, "holiday")) == N_ASSETS
    store._names.feed()
    store.close()
    monkeypatch.setattr(kept, "asset_of", None)
    store = opened(folder)
    assert store._names.n_unread() == 0
    assert found(store, "IMG 0003") == {"a3"}
    store.close()


def test_names_follow_the_commit_rows(folder: Path) -> None:
    store = opened(folder)
    assert found(store, "IMG 0003") == {"a3"}
    rows = store.assets(["a1", "a2", "a3", "a4"])
    store._names.feed()
    store.write([replace(rows["a3"], locations=["/data/regatta.jpg"]), rows["a1"]], [])
    gone = {**rows["a4"].metadata, GONE_SINCE: 1.0}
    store.write([replace(rows["a4"], metadata=gone)], [])
    store.delete(["a2"])
    for _ in range(2):
        assert found(store, "regatta") == {"a3"}
        for n in (2, 3, 4):
            assert not found(store, f"IMG {n:04}")
        assert len(found(store, "data")) == N_ASSETS - 2
        store._names.feed()
    store.close()


def test_a_writer_feeds_many_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LONG", N_ASSETS + 2)
    store = opened(folder)
    store.write([asset("b0", "/b0")], [])
    assert store._names.n_unread() == N_ASSETS + 1
    store.write([asset("b1", "/b1")], [])
    assert store._names.n_unread() == 0
    store.close()


def test_a_busy_writer_beside_keeps_nobody_feeding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, beside = opened(folder), opened(folder)
    source, n_written = store._names._source, 0
    read = source.texts

    def texts(db: Connection, ids: Sequence[str]) -> list[IndexedText]:
        """Read names while another process writes one more."""
        nonlocal n_written
        n_written += 1
        assert n_written < 10
        beside.write([asset(f"b{n_written}", f"/b{n_written}")], [])
        return read(db, ids)

    store._names.feed()
    store.write([asset("c", "/c")], [])
    monkeypatch.setattr(source, "texts", texts)
    store._names.feed()
    monkeypatch.undo()
    assert found(store, "c") == {"c"}
    assert found(store, "b1") == {"b1"}
    beside.close()
    store.close()


def test_names_that_were_lost_are_read_again(folder: Path) -> None:
    store = opened(folder)
    store._names.feed()
    store.close()
    for path in folder.glob("content/names.*"):
        if path.is_dir():
            shutil.rmtree(path)
    store = opened(folder)
    assert found(store, "IMG 0002") == {"a2"}
    store.close()
