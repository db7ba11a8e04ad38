"""A folder keeps an index of what its assets are called."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.types import TEXT
from search.errors import IndexNotReadyError
from search.filters import parse_filter
from search.store.embedded import reading, side
from search.store.embedded import texts as kept
from search.store.embedded.store import EmbeddedStore
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


def found(store: EmbeddedStore, text: str) -> set[str]:
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
    store.close()
    monkeypatch.setattr(reading, "asset_of", None)
    store = opened(folder)
    assert store._side.current.names.n_left() == 0
    assert found(store, "IMG 0003") == {"a3"}
    store.close()


def test_words_of_an_earlier_version_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index had no numbers of assets, which filters look at."""
    monkeypatch.setattr(reading, "_MAX_JOINED", 0)
    (row,) = vectors(1)
    with monkeypatch.context() as before:
        before.setattr(kept.TextSource, "has_numbers", False)
        store = opened(tmp_path / "store")
        texts = replace(segment("a", 0, row, TEXT), snippet="a dragon")
        store.write([asset("a", "/a.txt", modality=TEXT)], [texts])
        assert store.lexical("dragon", 1)
        store.close()
    store = opened(tmp_path / "store")
    of_text = parse_filter({"field": "path", "prefix": "/a"})
    with suppress(IndexNotReadyError):  # where the index is found to be of another form
        store.lexical("dragon", 1, filter=of_text)
    assert [hit.asset_id for hit in store.lexical("dragon", 1, filter=of_text)] == ["a"]
    store.close()


def test_names_follow_the_commit_rows(folder: Path) -> None:
    store = opened(folder)
    assert found(store, "IMG 0003") == {"a3"}
    rows = store.assets(["a1", "a2", "a3", "a4"])
    store.write([replace(rows["a3"], locations=["/data/regatta.jpg"]), rows["a1"]], [])
    assert store._side.current.names.n_left() == 1  # the other one is unchanged
    gone = {**rows["a4"].metadata, GONE_SINCE: 1.0}
    store.write([replace(rows["a4"], metadata=gone)], [])
    store.delete(["a2"])
    assert found(store, "regatta") == {"a3"}
    for n in (2, 3, 4):
        assert not found(store, f"IMG {n:04}")
    assert len(found(store, "data")) == N_ASSETS - 2
    store.close()


def test_a_writer_reads_many_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side, "AT_ONCE", N_ASSETS + 2)
    store = opened(folder)
    store.write([asset("b0", "/b0")], [])
    assert store._side.current.names.n_left() == N_ASSETS + 1
    store.write([asset("b1", "/b1")], [])
    assert store._side.current.names.n_left() == 0
    store.close()


def test_an_index_that_was_made_again_has_no_former_names(folder: Path) -> None:
    store = opened(folder)
    assert found(store, "IMG 0003") == {"a3"}
    (row,) = store.assets(["a3"]).values()
    store.record.write([replace(row, locations=["/regatta.jpg"])], [])  # the index does not know
    store.close()
    store = opened(folder)
    assert not found(store, "IMG 0003")
    assert found(store, "regatta") == {"a3"}
    assert found(store, "IMG 0002") == {"a2"}
    store.close()


def test_reading_ends_when_it_is_unwanted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "AT_ONCE", 2)
    store = opened(folder)
    asked = iter([False, True])
    store.read_names(lambda: next(asked))
    assert store._side.current.names.n_left() == N_ASSETS - 2
    store.close()
