"""What those who name no model see while a store moves to the default model, and after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from pymilvus import MilvusClient

from encoder.errors import InputError
from encoder.system.environment import begin
from encoder.types import QUERY, TEXT, Item
from search import Query, SearchEngine
from search.errors import SpaceMismatchError, StoreError
from search.store.lanes import Filling, StoredSpace, StoreLanes
from search.store.open import open_lanes
from search.store.stored_spaces import drop_former, space_record
from tests.contract.rows import stored_spaces
from tests.integration.conftest import ANYMODAL
from workers.config import current_settings
from workers.library.reindex import ReindexPlan, move
from workers.pipeline.ingest_job import IngestJob
from workers.serving.resources import Resources

N_NOTES = 8
NEW = "bundle:multilingual"
STORES = ["folder", pytest.param("milvus_server", marks=pytest.mark.milvus)]


def process() -> closing[Resources]:
    """The resources of a new process that names no model."""
    begin({})
    return closing(Resources(current_settings()))


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    bundle_home: Path,
    multilingual_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A store that ``bundle:english`` made; then no model is named."""
    assert bundle_home.is_dir()
    assert multilingual_home.is_dir()
    uri = str(tmp_path / "store")
    if request.param != "folder":
        uri = request.getfixturevalue(request.param).uri
        with closing(MilvusClient(uri)) as client:
            for name in client.list_collections():
                if name.startswith("anymodal"):
                    client.drop_collection(name)
    notes = [tmp_path / f"{number}.txt" for number in range(N_NOTES)]
    for number, note in enumerate(notes):
        note.write_text(f"The ferry number {number} leaves at nine.")
    for name, value in {"STORE": uri, "SHARD_FILES": "1", "INGEST__ISOLATE": "false"}.items():
        monkeypatch.setenv(f"ANYMODAL_{name}", value)
    with process() as held:
        assert IngestJob(held.encoder(), held.store()).run(list(map(str, notes))).ingested == 8
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    return uri


def check_seen() -> str:
    """Look at the store as a process of its own; the model it looks with."""
    with process() as held:
        store = held.existing_store()
        assert store.count() == N_NOTES
        engine = SearchEngine(held.encoder(), store)
        hits = engine.search(Query([Item(TEXT, "a boat departs", QUERY)], limit=20)).hits
        engine.close()
        assert len(hits) == N_NOTES
        return held.encoder().model


def n_filled(store: str) -> int:
    """How many assets have their segments in the space that is filling."""
    with space_record(store) as record:
        current = record.read()
    if current is None or not current.filling:
        return 0
    try:
        lanes = StoreLanes(StoredSpace(current.filling, 0), filling=Filling(frozenset()))
        new = open_lanes(store, lanes)
    except Exception:  # noqa: BLE001 (it is being made)
        return 0
    with closing(new):
        return sum(row.n_segments > 0 for row in new.scan())


@pytest.mark.slow
def test_a_store_is_whole_for_all_before_during_and_after_a_move(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_seen() == "bundle:english"
    words = [ANYMODAL, "store", "reindex", "--model", NEW, "--share", "0.05"]
    with subprocess.Popen(words, env=os.environ) as reindex:
        end_s = time.monotonic() + 250
        while n_filled(store) < 2:
            assert time.monotonic() < end_s
            assert reindex.poll() is None
            assert check_seen() == "bundle:english"
        assert check_seen() == "bundle:english"
        reindex.send_signal(signal.SIGKILL)
        reindex.wait(30)
    assert n_filled(store) < N_NOTES, "it was killed too late"
    assert check_seen() == "bundle:english"

    with monkeypatch.context() as patch:
        patch.setenv("ANYMODAL_ENCODER__MODEL", NEW)
        with pytest.raises(SpaceMismatchError, match="unfinished"):
            check_seen()
    with process() as held:
        moved = move(held, ReindexPlan(model=NEW, share=1.0, queries=["ferry"]))
    assert (moved.switched, moved.copied.failures) == (True, [])
    assert moved.copied.n_known >= 2
    assert check_seen() == NEW


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_a_store_that_lost_its_record_says_so(store: str) -> None:
    """Whatever model is named, what it holds may not be what that finds."""
    Path(store, "current.json").unlink()
    with process() as held, pytest.raises(StoreError, match=r"current\.json is missing"):
        held.store()


@pytest.mark.parametrize("store", ["folder"], indirect=True)
def test_an_unfinished_move_can_be_given_up(store: str) -> None:
    with process() as held:
        move(held, ReindexPlan(model=NEW, share=1.0, queries=["ferry"], switch=False))
    with process() as held:
        space = held.encoder().space.fingerprint
    (other,) = stored_spaces(store) - {space}
    assert drop_former(store).keys() == {other}
    assert stored_spaces(store) == {space}
    assert check_seen() == "bundle:english"
    with pytest.raises(InputError, match="--drop-former"):
        drop_former(store)
