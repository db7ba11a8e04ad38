"""What holds for the stores that keep their rows: reopening, spaces, closing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from pydantic import ValidationError

from encoder.errors import InputError
from encoder.space import Calibration
from encoder.types import IMAGE, TEXT
from search.api.ports import Job, Jobs
from search.api.responses.plain_values import job_status
from search.errors import (
    SpaceMismatchError,
    StoreError,
    StoreGoneError,
    StoreMissingError,
    StoreUnavailableError,
)
from search.filters import Compare, Operator, parse_filter
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.milvus.indexes import KINDS, IndexState, build_params, search_params
from search.store.milvus.rows import MilvusRows
from search.store.milvus.store import MilvusStore
from search.store.open import open_store
from search.store.schema import ASSETS, partition_of_row
from tests.contract.conftest import Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    record_of,
    segment,
    vectors,
)
from tests.support.milvus_server import MilvusServer
from workers.config import Settings

OTHER_SPACE = "fedcba9876543210"


@pytest.mark.slow
def test_reopening_gives_the_same_answers(open_again: Opener) -> None:
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(30)
    for each in (open_again(), oracle):
        each.write(assets, segments)
        each.delete([assets[0].asset_id])
    again = open_again()
    assert_same_answers(again, oracle)
    assert list(again.scan()) == list(oracle.scan())


def test_renaming_a_file_writes_no_segments_to_a_folder(tmp_path: Path) -> None:
    """Milvus Lite would check each of them in full."""
    open_again = Opener(str(tmp_path / "store"))
    store = open_again()
    assets, segments = corpus(6)
    store.write(assets, segments)

    def last_segment_write() -> int:
        record_of(store).flush()
        (manifest,) = (tmp_path / "store" / "collections").glob("*_segments7/manifest.json")
        return int(json.loads(manifest.read_text())["current_seq"])

    first = last_segment_write()
    both = [replace(row, locations=[*row.locations, f"/new/{row.asset_id}"]) for row in assets]
    store.write(both, [])
    store.write([replace(row, locations=row.locations[1:]) for row in both], [])
    assert last_segment_write() == first
    below = Compare("path", Operator.PREFIX, "/new/")
    assert [row.asset_id for row in store.scan(below)] == [row.asset_id for row in assets]
    assert store.assets_at(["/data/asset0-0"]) == {}
    found = store.search(vectors(1), IMAGE, 6, filter=below)[0]
    assert {hit.asset_id for hit in found} == {"asset0-1", "asset0-4"}
    open_again.drop()


def test_a_store_keeps_the_calibration_that_it_was_made_with(open_again: Opener) -> None:
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(9)
    for each in (open_again(), oracle):
        each.write(assets, segments)
    again = open_again(calibration={IMAGE: Calibration(0.5, 0.5)})
    assert again.scoring.reading == CALIBRATION
    again.write([], segments[:5])
    assert_same_answers(again, oracle)


def test_a_closed_store_says_so(open_again: Opener) -> None:
    store = open_again()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.assets(["a"])


def test_another_space_is_refused_with_the_remedy(open_again: Opener) -> None:
    open_again().write([asset("a", "/a")], [segment("a", 0, vectors(1)[0])])
    with pytest.raises(SpaceMismatchError, match=f"{SPACE}.*{OTHER_SPACE}.*another --store"):
        open_again(OTHER_SPACE)
    assert list(open_again().assets(["a"])) == ["a"]


def test_a_new_space_lies_beside_the_old_one(open_again: Opener) -> None:
    open_again().write([asset("a", "/a")], [])
    new = open_again(OTHER_SPACE, new_space=True)
    assert list(new.scan()) == []
    new.write([asset("b", "/b")], [])
    with pytest.raises(SpaceMismatchError, match=f"{OTHER_SPACE} is unfinished"):
        open_again(OTHER_SPACE)
    new = open_again(OTHER_SPACE, new_space=True)
    assert [row.asset_id for row in new.scan()] == ["b"]
    assert [row.asset_id for row in open_again().scan()] == ["a"]


def test_pages_go_on_over_flushed_and_new_rows(
    open_again: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = record_of(open_again())
    rows = [asset(f"a{number:03}", f"/{number}") for number in range(200)]
    store.write(rows[::2], [])
    store._link.call("flush", store._rows.name(ASSETS))
    store.write(rows[1::2] + rows[:50:2], [])
    monkeypatch.setattr("search.store.milvus.rows._WIDE_ROWS_PER_PAGE", 40)
    assert [row.asset_id for row in store.scan()] == [row.asset_id for row in rows]


@pytest.mark.slow
def test_what_others_write_and_delete_is_seen_after_catching_up(open_again: Opener) -> None:
    one, other = open_again(), open_again.beside()
    for number, vector in enumerate(vectors(5)):
        name = f"a{number}"
        one.write([asset(name, "/x")], [segment(name, 0, vector)])
        other.catch_up()
        assert list(other.assets([name])) == [name]
        assert [hit.asset_id for hit in other.search(vector[None], IMAGE, 1)[0]] == [name]
        one.delete([name])
        other.catch_up()
        assert other.assets([name]) == other.assets_at(["/x"]) == {}
        assert other.search(vector[None], IMAGE, 5) == [[]]


def test_a_server_that_has_not_loaded_its_rows_yet_is_waited_for(open_again: Opener) -> None:
    store = open_again()
    store.write([asset("a", "/a")], [])
    if not isinstance(store, MilvusStore):  # an index answers here, and has nothing to load
        return
    store._link.call("release_collection", store._rows.name(ASSETS))
    with pytest.raises(StoreUnavailableError):
        store.assets(["a"])
    assert list(open_again().assets(["a"])) == ["a"]


@dataclass
class EndedJobs:
    """Jobs that another process ends just when their state is asked for."""

    store: VectorStore

    def status(self, job_id: str) -> Job:
        self.store.write([asset(job_id, "/x")], [segment(job_id, 0, vectors(1)[0])])
        return Job(job_id, "done", 1.0, 0.0, n_files=1, ingested=1)


def test_who_hears_that_a_job_ended_finds_its_files(open_again: Opener) -> None:
    one, other = open_again(), open_again.beside()
    for number in range(5):
        name = f"a{number}"
        job_status(cast("Jobs", EndedJobs(other)), one, name)
        assert list(one.assets([name])) == [name]
        assert name in {hit.asset_id for hit in one.search(vectors(1), IMAGE, 10)[0]}


def test_what_only_reads_makes_no_store(open_again: Opener) -> None:
    with pytest.raises(StoreMissingError, match="There is no store at"):
        open_again(create=False)
    open_again().write([asset("a", "/a")], [])
    assert open_again(create=False).count() == 1
    with pytest.raises(SpaceMismatchError):
        open_again(space="f" * 16, create=False)


@pytest.mark.parametrize("away", [shutil.rmtree, lambda folder: folder.rename(f"{folder}-moved")])
def test_a_folder_that_is_removed_or_moved_under_a_store_is_missed(
    tmp_path: Path, away: Callable[[Path], object]
) -> None:
    folder = tmp_path / "store"
    store = Opener(str(folder))()
    assets, segments = corpus(3)
    store.write(assets, segments)
    store.ping()
    away(folder)
    acts: list[Callable[[], object]] = [
        store.ping,
        store.check_writable,
        lambda: store.write(assets, segments),
        lambda: store.delete([assets[0].asset_id]),
    ]
    for act in acts:
        with pytest.raises(StoreGoneError, match="removed or moved"):
            act()
    assert not folder.exists()
    if (moved := Path(f"{folder}-moved")).exists():
        moved.rename(folder)
        store.ping()
        store.delete([assets[0].asset_id])
        assert store.count() == 2


@pytest.fixture
def opener(milvus_server: MilvusServer) -> Iterator[Opener]:
    opener = Opener(milvus_server.uri)
    yield opener
    opener.drop()


@pytest.mark.milvus
def test_a_store_keeps_the_index_it_was_made_with(opener: Opener) -> None:
    """Milvus 2.3.5 accepts DISKANN, and never builds it."""
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(12)
    for store in (opener(index="DISKANN"), oracle):
        store.write(assets, segments)
    again = cast(MilvusStore, opener(index="HNSW"))
    assert again._search._index_kind == "DISKANN"
    assert again.index_state() == IndexState("DISKANN", 0, 0)
    assert_same_answers(again, oracle)


@pytest.mark.milvus
def test_what_an_old_server_lacks_is_refused_by_name(opener: Opener) -> None:
    for index in ("HNSW_SQ", "IVF_RABITQ", "SCANN", "HNSW+mmap"):
        with pytest.raises(StoreError) as refused:
            opener(index=index)
        assert f"cannot build the index {index}" in refused.value.problem
        assert "ANYMODAL_STORE__INDEX" in refused.value.remedy
    assert opener(index="HNSW").search(vectors(1), IMAGE, 1) == [[]]


@pytest.mark.parametrize("index", ["FLAT", "HNSW+", "HNSW+disk", "hnsw", "DISKANN+mmap"])
def test_indexes_that_are_none_are_refused(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="one of HNSW, HNSW_SQ, IVF_RABITQ, DISKANN, SCANN"):
        build_params(index)
    monkeypatch.setenv("ANYMODAL_STORE__INDEX", index)
    with pytest.raises(ValidationError, match="store__index"):
        Settings()


@pytest.mark.parametrize("limit", [1, 20, 16_384])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_looks_as_far_as_a_kind_takes_and_no_farther(kind: str, limit: int) -> None:
    """Milvus refuses fewer candidates than hits, and more lists than were built."""
    params = search_params(kind, limit)
    depths = [params[name] for name in ("ef", "search_list", "reorder_k") if name in params]
    assert all(depth >= limit for depth in depths)
    n_lists = build_params(kind)["params"].get("nlist", 0)
    assert params.get("nprobe", 0) <= n_lists
    assert depths or params["nprobe"]


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
