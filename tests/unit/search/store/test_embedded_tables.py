"""The tables of the index beside a folder's record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.store.embedded.reading import Reading
from search.store.embedded.tables import Tables
from search.store.embedded.views import Views
from search.store.embedded.writing import keys_of, put, remove
from tests.contract.rows import DIM, corpus

_GROWING = ("segment", "asset", "location", "label")


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    tables = Tables.made(tmp_path / "tables.db", "a store")
    yield tables
    tables.close()


def test_a_few_assets_are_found_without_a_walk_through_a_table(
    tables: Tables, tmp_path: Path
) -> None:
    """Otherwise each write and each deletion takes longer the larger the store is."""
    views, asked = Views(tmp_path, DIM), list[str]()
    with tables.writing() as db:
        put(db, views, *corpus(6))
    with tables.reading() as db:
        db.set_trace_callback(asked.append)  # of the one connection that there is
    with tables.writing() as db:
        assert sorted(keys_of(db, ["asset0-1", "asset0-2", "unknown"])) == ["asset0-1", "asset0-2"]
        put(db, views, *corpus(6))
        remove(db, ["asset0-1"])
    reading = Reading(tables, views, DIM)
    assert len(reading.embeddings("asset0-2")) == 3
    assert reading.assets_at(["/data/asset0-2"])
    with tables.reading() as db:
        db.set_trace_callback(None)
        plans = {sql: _plan(db, sql) for sql in asked}
    assert len(plans) > 20
    walks = tuple(f"SCAN {table}" for table in _GROWING)
    assert [sql for sql, plan in plans.items() if any(s.startswith(walks) for s in plan)] == []
    views.close()


def _plan(db: sqlite3.Connection, sql: str) -> list[str]:
    return [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
