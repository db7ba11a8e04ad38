"""What Milvus Lite is asked by keys, which the index beside it knows, leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from encoder.space import Calibration
from encoder.types import IMAGE, TEXT
from search.errors import StoreError
from search.store.embedded.store import EmbeddedStore
from search.store.milvus import calibration
from search.store.milvus.link import MilvusLink
from search.store.schema import ASSETS, LOCATIONS, SCHEMA_PROPERTY, WORDS
from search.types import AssetRow, SegmentRow
from tests.contract.rows import asset, opened, record_of, segment, vectors

Rows = tuple[list[AssetRow], list[SegmentRow]]
KEYS = {"segments7": "segment_id", "assets": "asset_id"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[EmbeddedStore]:
    store = opened(folder)
    yield store
    store.close()


def rows_of(name: str, *locations: str) -> Rows:
    """An asset with texts, a picture, and the picture's second row."""
    text, other, picture, second = vectors(4)
    segments = [
        segment(name, 0, text, TEXT, snippet="a word"),
        segment(name, 1, other, TEXT, snippet="two words"),
        segment(name, 0, picture, IMAGE),
        segment(name, 0, second, IMAGE, row=1),
    ]
    return [asset(name, *(locations or [f"/{name}"]), n_segments=3)], segments


def keys_in_lite(store: EmbeddedStore) -> dict[str, dict[str, str]]:
    """The asset of each key, by kind of collection."""
    record = record_of(store)
    found = {}
    for kind in (record._segments, ASSETS):
        rows = record._rows.where(kind, "", [kind.key, "asset_id"])
        found[kind.kind] = {row[kind.key]: row["asset_id"] for row in rows}
    return found


def assert_gone(store: EmbeddedStore, *names: str) -> None:
    for kind, found in keys_in_lite(store).items():
        assert not set(names) & set(found.values()), kind


def test_lite_is_asked_by_keys_alone(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(*rows_of("a"))
    asked: list[tuple[str, str]] = []
    call = MilvusLink.call

    def noted(link: MilvusLink, method: str, *args: Any, **options: Any) -> Any:
        if method in ("query", "delete"):
            asked.append((args[0].rpartition("_")[2], options["filter"].partition(" in ")[0]))
        return call(link, method, *args, **options)

    monkeypatch.setattr(MilvusLink, "call", noted)
    (begun,), segments = rows_of("b")
    store.write([], segments)
    store.write([begun], [])
    store.write([asset("b", "/moved", modality=TEXT)], [])
    store.delete(["b", "unknown"])
    monkeypatch.undo()
    assert {kind for kind, _ in asked} == KEYS.keys()
    assert [one for one in asked if KEYS[one[0]] != one[1]] == []
    assert_gone(store, "b")
    assert len(keys_in_lite(store)["segments7"]) == 4


@pytest.mark.parametrize("change", ["write", "delete"])
def test_a_change_that_was_cut_off_leaves_nothing(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    changes: dict[str, Callable[[], None]] = {
        "write": lambda: store.write(*rows_of("a", "/new", "/left")),
        "delete": lambda: store.delete(["a"]),
    }
    for n_calls in count():
        store.write(*rows_of("a", "/left", "/kept"))
        with monkeypatch.context() as patch:
            cut_off_after(n_calls, patch)
            try:
                changes[change]()
            except StoreError:
                is_whole = False
            else:
                is_whole = True
        store.write(*rows_of("b"))
        store.delete(["a"])
        assert_gone(store, "a")
        if is_whole:
            break
    assert n_calls > 2
    assert len(keys_in_lite(store)["segments7"]) == 4


def cut_off_after(n_calls: int, patch: pytest.MonkeyPatch) -> None:
    """Refuse all calls that change anything but so many."""
    call, left = MilvusLink.call, iter(range(n_calls))

    def refused(link: MilvusLink, method: str, *args: Any, **options: Any) -> Any:
        if method in ("insert", "upsert", "delete", "flush") and next(left, None) is None:
            raise StoreError("cut off")
        return call(link, method, *args, **options)

    patch.setattr(MilvusLink, "call", refused)


def test_an_index_that_was_made_again_knows_all_keys(folder: Path) -> None:
    """Also of a store of an earlier version, which had words and places in collections."""
    store = opened(folder)
    store.write(*rows_of("a"))
    record = record_of(store)
    names = [
        f"{record._rows.name(ASSETS)[: -len('assets')]}{kind.kind}" for kind in (WORDS, LOCATIONS)
    ]
    for name in names:
        record._link.call("create_collection", name, LOCATIONS, properties=SCHEMA_PROPERTY)
    store.close()
    shutil.rmtree(folder / "side")
    store = opened(folder)
    store.delete(["a"])
    assert_gone(store, "a")
    assert not set(names) & set(record_of(store)._link.call("list_collections"))
    store.close()


def test_what_was_written_without_the_index_is_deleted(store: EmbeddedStore, folder: Path) -> None:
    store.write(*rows_of("a"))
    for name in ("b", "c", "d"):
        record_of(store).write(*rows_of(name))
    for name in ("a", "b", "c"):
        store.delete([name])
        assert_gone(store, name)
    again = opened(folder)
    assert list(again.assets(["b", "d"])) == ["d"]
    again.delete(["d"])
    assert_gone(again, "d")
    again.close()


def test_others_write_by_keys_while_rows_are_rewritten(
    store: EmbeddedStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite moves the number of the record's last write, but changes nothing of the index."""
    monkeypatch.setattr(calibration, "_ROWS_PER_PAGE", 100)
    rows = [rows_of(f"a{number}") for number in range(60)]  # 240 rows, three pages
    store.write(
        [one for assets, _ in rows for one in assets], [one for _, of in rows for one in of]
    )
    other = opened(folder)
    level: list[bool] = []

    def write(n_done: int, _: int) -> None:
        other.write(*rows_of(f"b{n_done}"))
        level.append(other._side._is_level())

    store.recalibrate({TEXT: Calibration(0.1, 0.3)}, {"source": "measured"})
    store.rewrite(write)
    assert len(level) > 2
    assert all(level)
    assert other._side._is_level()
    other.close()
