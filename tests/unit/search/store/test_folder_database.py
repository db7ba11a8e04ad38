"""The database of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from encoder.types import IMAGE
from search.filters import parse_filter
from search.store.folder import vector_files, views, writing
from search.store.folder.database import Connection
from search.store.folder.store import FolderStore
from search.store.folder.writing import put, remove
from tests.contract.rows import corpus, opened, vectors

_GROWING = ("segment", "asset", "location", "label")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    store = opened(tmp_path / "store")
    yield store
    store.close()


def test_a_few_assets_are_found_without_a_walk_through_a_table(store: FolderStore) -> None:
    """Otherwise each write and each deletion takes longer the larger the store is."""
    statements = list[str]()

    def noted(_cursor: object, sql: str, _values: object) -> bool:
        statements.append(sql)
        return True

    with store._writing() as db:
        put(db, store._views, store.lanes, *corpus(6))
    with store._db.reading() as db:
        db.exec_trace = noted  # type: ignore[attr-defined]  # of the only connection
    with store._writing() as db:
        put(db, store._views, store.lanes, *corpus(6))
        remove(db, ["asset0-1"])
    assert len(store.embeddings("asset0-2")) == 3
    assert store.assets_at(["/data/asset0-2"])
    with store._db.reading() as db:
        db.exec_trace = None  # type: ignore[attr-defined]
        plans = {sql: _plan(db, sql) for sql in statements if sql.split()[0] not in _NO_PLAN}
    assert len(plans) > 20
    walks = tuple(f"SCAN {table}" for table in _GROWING)
    assert [sql for sql, plan in plans.items() if any(s.startswith(walks) for s in plan)] == []


_NO_PLAN = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


def _plan(db: Connection, sql: str) -> list[str]:
    return [step for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?"))]


def test_threads_ask_for_a_filter_once(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search has a thread for each kind, and all of them need the filter's assets."""
    statements, numbers = list[str](), views._numbers

    def slowly(db: Connection, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        sleep(0.1)
        return numbers(db, sql, *rest)

    monkeypatch.setattr(views, "_numbers", slowly)
    store.write(*corpus(6))
    filter = parse_filter({"field": "size_bytes", "gte": 7, "lt": 8})
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: store.count(filter), range(4))) == [6] * 4
    assert len(statements) == 1
    assert "asset_size_bytes < ?" in statements[0]


def test_what_a_filter_finds_is_carried_over_from_commit_to_commit(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only assets that changed are asked about, and answers stay right."""
    store.write(*corpus(30))
    filters = [
        parse_filter({"field": "size_bytes", "gt": 6}),
        parse_filter({"field": "title", "prefix": "asset0-1"}),
        parse_filter({"field": "path", "prefix": "/data/asset0-2"}),
        parse_filter({"field": "metadata.x", "eq": 1}),
        parse_filter({"not": {"field": "tags", "contains": "a"}}),
    ]
    before = [store.count(filter) for filter in filters]
    assert before[:2] == [30, 11]
    statements, numbers = list[str](), views._numbers

    def noted(db: Connection, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return numbers(db, sql, *rest)

    monkeypatch.setattr(views, "_numbers", noted)
    rows = store.assets(["asset0-10", "asset0-2"])
    changed = [
        replace(rows["asset0-10"], size_bytes=1, metadata={"title": "other", "x": 1}),
        replace(rows["asset0-2"], locations=["/elsewhere"], metadata={"tags": ["a"]}),
    ]
    store.write(changed, [])
    store.delete(["asset0-20"])
    carried = [store.count(filter) for filter in filters]
    assert all("no IN" in sql for sql in statements if "row IS NOT NULL" not in sql)
    again = opened(Path(store._shown))
    assert carried == [again.count(filter) for filter in filters]
    assert carried != before
    again.close()


def test_a_filter_outlasts_the_deletion_of_the_last_assets(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their slots are given up, too, so that there are fewer numbers than before."""
    for module in (vector_files, writing):
        monkeypatch.setattr(module, "CHUNK", 32)
    store.write(*corpus(90))
    large = {"field": "size_bytes", "gt": 1}
    untagged = {"not": {"field": "tags", "contains": "a"}}
    filters = [
        parse_filter(large),
        parse_filter(untagged),
        parse_filter({"and": [large, untagged]}),
    ]
    assert [store.count(filter) for filter in filters] == [90, 90, 90]
    store.write([], corpus(91)[1][-3:])  # of an asset that is not committed
    assert [store.count(filter) for filter in filters] == [90, 90, 90]
    store.delete([f"asset0-{number}" for number in range(20, 91)])
    for _ in range(3):
        store.write(*corpus(1))
        assert [store.count(filter) for filter in filters] == [20, 20, 20]
    assert len(store.search(vectors(1), [IMAGE], 90, filter=filters[2])[0]) == 3 * 7


def test_who_sweeps_waits_for_who_is_writing(store: FolderStore) -> None:
    """Files of rows that are not committed yet belong to no part that others know of."""
    other = opened(Path(store._shown))
    with ThreadPoolExecutor(1) as pool:
        with store._writing() as db:
            put(db, store._views, store.lanes, *corpus(6))
            swept = pool.submit(other._sweep)
            with pytest.raises(TimeoutError):
                swept.result(0.2)
        swept.result(30)
    assert len(other.search(vectors(1), [IMAGE], 20)[0]) == 6
    assert other.check(lambda *_: None).wrong == {}
    other.close()


def test_many_readers_share_a_few_connections(store: FolderStore, tmp_path: Path) -> None:
    """Each keeps pages of the file for as long as the store is open."""
    tables = store._db

    def read(_: int) -> int:
        with tables.reading() as db, tables.reading() as nested:
            sleep(0.01)
            return sum(one.execute("SELECT count(*) FROM asset").fetchone()[0]
                       for one in (db, nested))  # fmt: skip

    with ThreadPoolExecutor(24) as threads:
        assert list(threads.map(read, range(96))) == [0] * 96
    descriptors = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    path = tmp_path / "store" / "content" / "store.db"
    assert 0 < descriptors.count(path) <= 8  # four threads, with two each
