"""What Milvus keeps of lanes: collections of a space, beside those of the store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pymilvus import MilvusClient

from encoder.space import Space
from encoder.types import AUDIO, IMAGE, TEXT
from search.errors import StoreError, StoreMissingError
from search.filters import parse_filter
from search.store.checking import ORPHANED
from search.store.lanes import Filling, StoreLanes
from search.store.milvus.store import MilvusStore
from search.store.schema import ASSETS, segments_collection
from search.store.space_record import searched_in
from search.store.stored_spaces import space_record
from tests.contract.conftest import ON_MILVUS, Opener
from tests.contract.rows import CALIBRATION, DIM, corpus, record_of, vectors

OLD = StoreLanes.of(Space(DIM, {"model": "old"}, CALIBRATION), {})
NEW = StoreLanes.of(Space(DIM, {"model": "new"}, CALIBRATION), {})
FILLING = replace(NEW, filling=Filling(frozenset({TEXT, IMAGE, AUDIO})))
ASSET_ROWS, SEGMENT_ROWS = corpus(6)
WORDED = [replace(row, snippet=f"a heron {row.segment_id}") for row in SEGMENT_ROWS]

pytestmark = pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)


@pytest.fixture
def moved(open_again: Opener) -> Opener:
    """A store that was filled in a second space, and is still searched in the first."""
    open_again.lanes(OLD).write(ASSET_ROWS, WORDED)
    open_again.lanes(FILLING).write(ASSET_ROWS, WORDED)
    return open_again


def _switched(opener: Opener) -> MilvusStore:
    opener.close()
    with space_record(opener.uri, opener.prefix) as record:
        record.write(searched_in(NEW, {}))
    return record_of(opener.lanes(NEW))


def _old(opener: Opener) -> MilvusStore:
    opener.close()
    return record_of(opener.lanes(OLD))


def test_changes_of_an_asset_reach_the_columns_of_all_lanes(moved: Opener) -> None:
    changed = [replace(row, metadata={"tags": ["bird"]}) for row in ASSET_ROWS[:3]]
    _old(moved).write(changed, [])
    store, birds = _switched(moved), parse_filter({"field": "tags", "contains": "bird"})
    for modality, asset in zip((TEXT, IMAGE, AUDIO), changed, strict=True):
        (hits,) = store.search(vectors(1), [modality], 9, filter=birds)
        assert {hit.asset_id for hit in hits} == {asset.asset_id}


def test_a_deletion_reaches_all_lanes_and_their_words(moved: Opener) -> None:
    store = _old(moved)
    store.delete([row.asset_id for row in ASSET_ROWS[:5]])
    for kind in store._rows.of_all_spaces():
        rows = store._rows.where(kind, "", ["asset_id"])
        assert {row["asset_id"] for row in rows} <= {ASSET_ROWS[5].asset_id}


def test_segments_in_any_lane_without_a_commit_row_are_found_and_removed(moved: Opener) -> None:
    store = _old(moved)
    store._rows.delete(ASSETS, ASSETS.key, [ASSET_ROWS[0].asset_id])
    here, there = (segments_collection(lanes.home.fingerprint) for lanes in (OLD, NEW))
    store._rows.delete(here, "asset_id", [ASSET_ROWS[0].asset_id])
    store.catch_up()
    findings = store.check(lambda *_: None)
    assert findings.of(ORPHANED) == [ASSET_ROWS[0].asset_id]
    with store.locks.whole():
        store.repair(findings)
    assert store.check(lambda *_: None).wrong == {}
    assert not list(store._rows.where(there, f'asset_id == "{ASSET_ROWS[0].asset_id}"', []))


def test_of_a_space_whose_lanes_were_dropped_nothing_is_left(moved: Opener) -> None:
    store = _switched(moved)
    old = OLD.home.fingerprint
    record_of(moved.lanes(replace(OLD, filling=FILLING.filling))).recalibrate(
        {}, {"source": "none"}
    )
    assert {store.drop(old, modality) for modality in (IMAGE, AUDIO, TEXT)} == {6}
    client = MilvusClient(moved.uri) if moved.uri.startswith("http") else store._link._client
    assert not [name for name in client.list_collections() if f"{moved.prefix}_{old}" in name]
    assert store.stored_lanes() == {(NEW.home.fingerprint, m) for m in (TEXT, IMAGE, AUDIO)}
    assert [row.n_segments for row in store.scan()] == [3] * 6
    assert store.check(lambda *_: None).wrong == {}


def test_only_a_store_is_filled(open_again: Opener) -> None:
    with pytest.raises(StoreMissingError):
        open_again.lanes(FILLING)


def test_a_store_that_lost_its_record_is_not_taken_for_a_new_one(open_again: Opener) -> None:
    store = record_of(open_again.lanes(OLD))
    store._link.call("drop_alias", f"{open_again.prefix}_current")
    for lanes in (OLD, NEW):
        with pytest.raises(StoreError, match="lost its record"):
            open_again.lanes(lanes)
