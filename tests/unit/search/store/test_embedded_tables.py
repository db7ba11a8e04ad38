"""The tables of the index beside a folder's record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from search.filters import parse_filter
from search.store.embedded import views
from search.store.embedded.generation import Generation
from search.store.embedded.writing import keys_of, put, remove
from tests.contract.rows import DIM, corpus

_GROWING = ("segment", "asset", "location", "label")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Generation]:
    Generation.make(tmp_path, "a store")
    files = Generation(tmp_path, DIM, "a store", nullcontext)
    yield files
    files.close()


def test_a_few_assets_are_found_without_a_walk_through_a_table(files: Generation) -> None:
    """Otherwise each write and each deletion takes longer the larger the store is."""
    tables, views, asked = files.tables, files.views, list[str]()
    with tables.writing() as db:
        put(db, views, *corpus(6))
    with tables.reading() as db:
        db.set_trace_callback(asked.append)  # of the only connection
    with tables.writing() as db:
        assert sorted(keys_of(db, ["asset0-1", "asset0-2", "unknown"])) == ["asset0-1", "asset0-2"]
        put(db, views, *corpus(6))
        remove(db, ["asset0-1"])
    assert len(files.reading.embeddings("asset0-2")) == 3
    assert files.reading.assets_at(["/data/asset0-2"])
    with tables.reading() as db:
        db.set_trace_callback(None)
        plans = {sql: _plan(db, sql) for sql in asked}
    assert len(plans) > 20
    walks = tuple(f"SCAN {table}" for table in _GROWING)
    assert [sql for sql, plan in plans.items() if any(s.startswith(walks) for s in plan)] == []


def _plan(db: sqlite3.Connection, sql: str) -> list[str]:
    return [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}")]


def test_threads_ask_for_a_filter_once(files: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search has a thread for each kind, and all of them need the filter's assets."""
    tables, asked, mask = files.tables, list[str](), views._mask

    def slowly(db: sqlite3.Connection, sql: str, *rest: Any) -> views.Mask:
        asked.append(sql)
        sleep(0.1)
        return mask(db, sql, *rest)

    monkeypatch.setattr(views, "_mask", slowly)
    with tables.writing() as db:
        put(db, files.views, *corpus(6))
    filter = parse_filter({"field": "size_bytes", "gte": 7, "lt": 8})

    def found(_: int) -> int:
        with tables.reading() as db:
            chosen = files.views.assets(db, files.views.current(db), None, filter)
            return 0 if chosen is None else int(chosen.sum())

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(found, range(4))) == [6] * 4
    assert len(asked) == 1
    assert "asset_size_bytes < ?" in asked[0]


def test_many_readers_share_a_few_connections(files: Generation, tmp_path: Path) -> None:
    """Each keeps pages of the file for as long as the store is open."""
    tables = files.tables

    def read(_: int) -> int:
        with tables.reading() as db, tables.reading() as nested:
            sleep(0.01)
            return sum(one.execute("SELECT count(*) FROM asset").fetchone()[0]
                       for one in (db, nested))  # fmt: skip

    with ThreadPoolExecutor(24) as threads:
        assert list(threads.map(read, range(96))) == [0] * 96
    opened = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert 0 < opened.count(tmp_path / "tables.db") <= 8  # four threads, with two each
