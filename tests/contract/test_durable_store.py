"""What holds for the stores that keep their rows: reopening, spaces, closing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest
from pydantic import ValidationError
from pymilvus import MilvusClient

from encoder.errors import InputError
from encoder.space import Calibration, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT
from search.api.responses.plain_values import job_status
from search.errors import (
    SpaceMismatchError,
    StoreError,
    StoreGoneError,
    StoreMissingError,
    StoreUnavailableError,
)
from search.jobs import Job, Jobs
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.milvus import lite
from search.store.milvus.indexes import KINDS, IndexState, build_params, search_params
from search.store.milvus.store import MilvusStore
from search.store.schema import ASSETS, SCHEMA_VERSION
from tests.contract.conftest import ON_MILVUS, ROOT, Opener
from tests.contract.rows import (
    CALIBRATION,
    DIM,
    SPACE,
    assert_same_answers,
    asset,
    corpus,
    names,
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


def test_a_store_keeps_the_calibration_that_it_was_made_with(open_again: Opener) -> None:
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(9)
    for each in (open_again(), oracle):
        each.write(assets, segments)
    again = open_again(calibration={IMAGE: Calibration(0.5, 0.5)})
    assert again.calibrations.scoring().constants == CALIBRATION
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


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
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
        assert [hit.asset_id for hit in other.search(vector[None], [IMAGE], 1)[0]] == [name]
        one.delete([name])
        other.catch_up()
        assert other.assets([name]) == other.assets_at(["/x"]) == {}
        assert other.search(vector[None], [IMAGE], 5) == [[]]


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
def test_a_server_that_has_not_loaded_its_rows_yet_is_waited_for(open_again: Opener) -> None:
    store = record_of(open_again())
    store.write([asset("a", "/a")], [])
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
        assert name in {hit.asset_id for hit in one.search(vectors(1), [IMAGE], 10)[0]}


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
    oracle = MemoryStore(DIM, CALIBRATION)
    assets, segments = corpus(12)
    for store in (opener(index="HNSW"), oracle):
        store.write(assets, segments)
    again = cast(MilvusStore, opener(index="IVF_RABITQ"))
    assert again._searches[SPACE]._index_kind == "HNSW"
    assert again.index_state() == IndexState("HNSW", 0, 0)
    assert_same_answers(again, oracle)


@pytest.mark.milvus
def test_what_an_old_server_lacks_is_refused_by_name(opener: Opener) -> None:
    for index in ("HNSW_SQ", "IVF_RABITQ", "HNSW+mmap"):
        with pytest.raises(StoreError) as refused:
            opener(index=index)
        assert f"cannot build the index {index}" in refused.value.problem
        assert "ANYMODAL_STORE__INDEX" in refused.value.remedy
    assert opener(index="HNSW").search(vectors(1), [IMAGE], 1) == [[]]


@pytest.mark.parametrize("index", ["FLAT", "HNSW+", "HNSW+disk", "hnsw", "DISKANN"])
def test_indexes_that_are_none_are_refused(index: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="one of HNSW, HNSW_SQ, IVF_RABITQ, with"):
        build_params(index)
    monkeypatch.setenv("ANYMODAL_STORE__INDEX", index)
    with pytest.raises(ValidationError, match="store__index"):
        Settings()


@pytest.mark.parametrize("limit", [1, 20, 16_384])
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_looks_as_far_as_a_kind_takes_and_no_farther(kind: str, limit: int) -> None:
    """Milvus refuses fewer candidates than hits, and more lists than were built."""
    params = search_params(kind, limit)
    assert params.get("ef", limit) >= limit
    n_lists = build_params(kind)["params"].get("nlist", 0)
    assert params.get("nprobe", 0) <= n_lists
    assert params.keys() & {"ef", "nprobe"}


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
def test_plain_pymilvus_finds_the_same_neighbours(open_again: Opener) -> None:
    """Rows are unit vectors: whoever opens the collection finds by cosine what the store does."""
    store = open_again()
    store.write(*corpus(90))
    store.catch_up()
    client = MilvusClient(open_again.uri)
    collection = f"{open_again.prefix}_{SPACE}_segments"
    for query in l2_normalize(vectors(4, seed=9)):
        for modality in (TEXT, IMAGE, AUDIO):
            ours = store.search(query[None], [modality], 10)[0]
            (theirs,) = client.search(
                collection,
                [query],
                limit=10,
                partition_names=[modality],
                output_fields=["segment_id"],
                consistency_level="Strong",
            )
            assert [hit["entity"]["segment_id"] for hit in theirs] == names(ours)
            cosines = [hit["distance"] for hit in theirs]
            assert cosines == pytest.approx([hit.cosine for hit in ours], abs=1e-5)
    client.close()


@pytest.mark.parametrize("space", [SPACE, "ab" * 8], ids=["its own model", "another model"])
@pytest.mark.parametrize("schema", ["8", "10"])
@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
def test_another_schema_is_refused_with_the_way_to_this_one(
    open_again: Opener, schema: str, space: str
) -> None:
    record = record_of(open_again())
    record.write(*corpus(2))
    for kind in (ASSETS, *record._segments.values()):
        record._link.call(
            "alter_collection_properties",
            record._rows.name(kind),
            properties={"anymodal.schema": schema},
        )
    with pytest.raises(StoreError, match=rf"schema {schema} .*writes schema {SCHEMA_VERSION}") as e:
        open_again(space)
    assert "anymodal store export" in e.value.remedy
    assert "anymodal store import" in e.value.remedy


def test_a_file_of_milvus_lite_admits_one_process_and_lets_the_next_one_in(tmp_path: Path) -> None:
    open_again = Opener(str(tmp_path / "new" / "store.db"))
    open_again().write(*corpus(2))
    words = [sys.executable, "-c", _OPENS, open_again.uri, SPACE, str(DIM), open_again.prefix]
    run = partial(subprocess.run, words, cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert "in use by another process" in run(check=False).stdout
    open_again.close()
    assert run(check=False).stdout.strip() == "2"


_OPENS = """
import sys
from search.errors import StoreBusyError
from search.store.open import open_store
try:
    store = open_store(sys.argv[1], sys.argv[2], int(sys.argv[3]), prefix=sys.argv[4])
    print(store.count())
except StoreBusyError as error:
    print(error)
"""


def test_what_is_no_file_of_milvus_lite_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("of SQLite")
    (tmp_path / "b.db").mkdir()
    (tmp_path / "b.db" / "note").write_text("mine")
    for name in ("a.db", "b.db"):
        with pytest.raises(StoreError, match=f"{name} is .*no(t a)? store"):
            Opener(str(tmp_path / name))()
    assert (tmp_path / "a.db").read_text() == "of SQLite"
    assert [path.name for path in (tmp_path / "b.db").iterdir()] == ["note"]


def test_without_milvus_lite_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lite, "find_spec", lambda _: None)
    with pytest.raises(StoreError) as missing:
        Opener(str(tmp_path / "store.db"))()
    assert "[lite]" in missing.value.remedy
