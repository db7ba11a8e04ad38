"""A store of schema 6 is read as it is, and upgraded without encoding anything."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from encoder.types import IMAGE, TEXT
from search.errors import StoreError
from search.filters import parse_filter
from search.store.memory import MemoryStore
from search.store.milvus.rows import MilvusRows
from search.store.open import open_store
from search.store.schema import partition_of_row
from tests.contract.conftest import Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    record_of,
    vectors,
)

PATH = parse_filter({"field": "path", "prefix": "/data/"})
KILLED = """
import os, signal, sys
from search.store.milvus import upgrade
from search.store.open import open_store
upgrade._ROWS_PER_PAGE = 7
store = open_store(sys.argv[1], {space!r}, {dim}, prefix=sys.argv[2])
store.upgrade(lambda done, rows: done > 8 and os.kill(os.getpid(), signal.SIGKILL))
"""


def filled_as_before(opener: Opener) -> MemoryStore:
    """Fill a store and make its segments what they were in schema 6; return its oracle."""
    store, oracle = opener(), MemoryStore(DIM, CALIBRATION)
    for one in (store, oracle):
        one.write(*corpus(12))
    store = record_of(store)
    old, new = store._version.old, store._version.new
    rows = MilvusRows(store._link, {**store._rows.names, **store._prepare([old])}, old)
    for row in rows.where(new, "", new.whole):
        kept = {field: row[field] for field in old.whole}
        rows.partitions.ensure(partition_of_row(row))
        rows.upsert(old, [kept], partition_name=partition_of_row(row))
    rows.flush(old)
    store._link.call("drop_collection", rows.name(new))
    return oracle


@pytest.mark.slow
def test_an_old_store_is_searched_and_then_upgraded(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = filled_as_before(open_again)
    monkeypatch.setattr("search.store.milvus.upgrade._ROWS_PER_PAGE", 7)
    store = open_again()
    assert_same_answers(store, oracle)
    assert len(list(store.select(PATH))) == 12
    assert len(store.search(vectors(1), IMAGE, 20, filter=PATH)[0]) == 12
    for write in (lambda: store.write([asset("b", "/b")], []), lambda: store.delete(["b"])):
        with pytest.raises(StoreError, match="anymodal store upgrade"):
            write()

    def stop(n_done: int, _n_rows: int) -> None:
        if n_done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.upgrade(stop)
    store = open_again()
    assert_same_answers(store, oracle)
    seen: list[int] = []
    assert store.upgrade(lambda n_done, _: seen.append(n_done)) == 36
    assert seen[0] < 36
    assert sum(b - a for a, b in zip([0, *seen], seen, strict=False)) <= 36 - 14  # it resumed
    store = open_again()
    assert_same_answers(store, oracle)
    assert store.upgrade(lambda *_: None) == 0
    record = record_of(store)
    assert record._rows.count(record._segments) == 36
    assert record._rows.name(record._segments).endswith("_segments7")
    other = parse_filter({"field": "path", "prefix": "/data/asset0-1/"})
    assert store.search(vectors(1), IMAGE, 20, filter=other) == [[]]
    store.write([asset("b", "/b")], [])
    assert store.count() == 13


@pytest.mark.slow
def test_an_upgrade_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    opener = Opener(str(tmp_path / "store"))
    oracle = filled_as_before(opener)
    opener.close()
    words = [sys.executable, "-c", KILLED.format(space=SPACE, dim=DIM), opener.uri, opener.prefix]
    for _ in range(2):
        killed = subprocess.run(words, cwd=Path(__file__).parents[2], timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL
        store = opener()
        assert_same_answers(store, oracle)
        opener.close()
    store = opener()
    assert store.upgrade(lambda *_: None) == 36
    store = open_store(opener.uri, SPACE, DIM, prefix=opener.prefix)
    assert_same_answers(store, oracle)
    assert {hit.asset_id for hit in store.search(vectors(1), TEXT, 20, filter=PATH)[0]}
    store.close()


@pytest.mark.parametrize("space", [SPACE, "ab" * 8], ids=["its own model", "another model"])
@pytest.mark.parametrize(("schema", "whose"), [("5", "an earlier"), ("8", "a later")])
def test_a_schema_that_is_not_read_is_refused_by_its_number(
    tmp_path: Path, schema: str, whose: str, space: str
) -> None:
    store = open_store(str(tmp_path), SPACE, DIM)
    store.write(*corpus(2))
    record = record_of(store)
    for name in record._rows.names.values():
        record._link.call(
            "alter_collection_properties", name, properties={"anymodal.schema": schema}
        )
    store.close()
    with pytest.raises(StoreError, match=rf"schema {schema} .*{whose} version.*schema 7.*schema 6"):
        record_of(open_store(str(tmp_path), space, DIM))
