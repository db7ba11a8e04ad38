"""What holds for the stores that keep their rows: reopening, spaces, closing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from encoder.space import Calibration
from encoder.types import IMAGE
from search.api.ports import Job, Jobs
from search.api.responses.plain_values import job_status
from search.errors import (
    SpaceMismatchError,
    StoreError,
    StoreGoneError,
    StoreMissingError,
    StoreUnavailableError,
)
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.milvus.store import MilvusStore
from search.store.schema import ASSETS
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
    """Milvus Lite would check each of them in full; places that files left go in one deletion."""
    open_again = Opener(str(tmp_path / "store"))
    store = open_again()
    assets, segments = corpus(6)
    store.write(assets, segments)

    def n_written() -> dict[str, int]:
        found = (tmp_path / "store" / "collections").glob("*/manifest.json")
        return {
            file.parent.name.rpartition("_")[2]: json.loads(file.read_text())["current_seq"]
            for file in found
        }

    first = n_written()
    both = [replace(row, locations=[*row.locations, f"/new/{row.asset_id}"]) for row in assets]
    store.write(both, [])
    renamed = n_written()
    store.write([replace(row, locations=row.locations[1:]) for row in both], [])
    last = n_written()
    assert first["segments7"] == renamed["segments7"] == last["segments7"]
    assert renamed["locations"] - first["locations"] == len(assets)
    assert last["locations"] - renamed["locations"] == 1
    below = Compare("path", Operator.PREFIX, "/new/")
    for each in (store, record_of(store)):
        assert [row.asset_id for row in each.scan(below)] == [row.asset_id for row in assets]
        assert each.assets_at(["/data/asset0-0"]) == {}
        found = each.search(vectors(1), IMAGE, 6, filter=below)[0]
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
