"""Lanes in one store: written, read, filled beside others, dropped and proven as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError, ModelError
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Modality
from search.errors import SpaceMismatchError, StoreError, StoreMissingError, StoreMovedError
from search.store.base import VectorStore
from search.store.checking import INCOMPLETE, Checkable
from search.store.lanes import Filling, StoredSpace, StoreLanes
from search.store.memory import MemoryStore
from search.store.open import open_lanes, open_store
from search.store.space_record import SearchedSpace
from search.store.stored_spaces import drop_former, open_recorded, space_record
from search.types import AssetRow, SegmentRow
from tests.contract.conftest import Opener
from tests.contract.rows import CALIBRATION, DIM, corpus, names, segment, vectors

HOME = Space(DIM, {"model": "home"}, CALIBRATION)
PICTURES = Space(24, {"model": "pictures"}, {IMAGE: Calibration(0.1, 0.05)})
LANES = StoreLanes.of(HOME, {IMAGE: PICTURES})
ONE = StoreLanes.of(HOME, {})
ALL_IMAGES = Filling(frozenset({IMAGE}))


def widened(row: SegmentRow) -> SegmentRow:
    """A row of the lane of pictures, whose space has more dimensions and other keys."""
    if row.modality != IMAGE:
        return row
    embedding = np.concatenate([row.embedding, np.zeros(8, np.float32)])
    key = f"{row.segment_id[:-1]}p"
    return replace(row, segment_id=key, embedding=l2_normalize(embedding[None])[0])


def a_corpus(n: int) -> tuple[list[AssetRow], list[SegmentRow]]:
    assets, segments = corpus(n)
    return assets, list(map(widened, segments))


def asked(modality: Modality) -> Embeddings:
    """A query in the space of a modality."""
    dims = 24 if modality == IMAGE else DIM
    return l2_normalize(np.random.default_rng(5).normal(size=(1, dims)))


def rows_of(store: VectorStore, assets: list[AssetRow]) -> list[str]:
    return sorted(row.key for asset in assets for row in store.embeddings(asset.asset_id))


Open = Callable[..., Any]


@pytest.fixture
def laned(open_again: Opener) -> Iterator[Open]:
    def opened(lanes: StoreLanes = LANES, **options: Any) -> VectorStore:
        open_again.close()
        return open_again.lanes(lanes, **options)

    return opened


def test_lanes_answer_like_their_oracle_and_after_reopening(laned: Open) -> None:
    oracle = MemoryStore(lanes=LANES)
    assets, segments = a_corpus(9)
    store = laned()
    for each in (store, oracle):
        each.write(assets, segments)
        each.write([replace(assets[1], locations=["/moved"])], [])
        each.delete([assets[4].asset_id])
    for _ in range(2):
        assert store.sizes() == oracle.sizes() == {TEXT: 9, IMAGE: 6, AUDIO: 9}
        assert list(store.scan()) == list(oracle.scan())
        for space in LANES.spaces:
            own, wanted = (each.calibrations.scoring(space) for each in (store, oracle))
            assert own.constants == wanted.constants
        for modality in (TEXT, IMAGE, AUDIO):
            answers = [each.search(asked(modality), [modality], 5)[0] for each in (store, oracle)]
            assert names(answers[0]) == names(answers[1])
            assert len(answers[0]) == 5
        by = store.calibrations.scoring().constants
        mixed = [
            each.search(asked(TEXT), [TEXT, AUDIO], 9, by=by)[0][:9] for each in (store, oracle)
        ]
        assert names(mixed[0]) == names(mixed[1])
        photo = assets[1].asset_id
        rows = store.embeddings(photo)
        assert [row.embedding.shape for row in rows] == [(24,)] * 3
        assert store.vectors([rows[0].key]).keys() == {rows[0].key}
        assert store.assets([photo])[photo].locations == ["/moved"]
        store = laned()


def test_rows_that_are_lost_are_found_and_their_asset_is_read_again(laned: Open) -> None:
    store = laned()
    assets, segments = a_corpus(6)
    store.write([*assets[:1], replace(assets[1], counts={IMAGE: 4}), *assets[2:]], segments)
    findings = store.check(lambda _done, _all: None)
    assert list(findings.wrong) == [INCOMPLETE]
    store.repair(findings)
    assert store.check(lambda _done, _all: None).wrong == {}
    rows = store.assets([asset.asset_id for asset in assets])
    assert [row.n_segments for row in rows.values()] == [3, 0, 3, 3, 3, 3]
    assert rows[assets[1].asset_id].metadata == assets[1].metadata


def test_the_record_names_the_lanes(open_again: Opener, laned: Open) -> None:
    laned(encoder={"model": "ours"}).write(*a_corpus(3))
    with space_record(open_again.uri, open_again.prefix) as record:
        current = record.read()
    lanes = {"image": PICTURES.fingerprint}
    assert current == SearchedSpace(HOME.fingerprint, {"model": "ours"}, lanes=lanes)
    for others in ({}, {IMAGE: Space(24, {"model": "other"})}):
        with pytest.raises(SpaceMismatchError, match="image in the space"):
            laned(StoreLanes.of(HOME, others))
    open_again.close()
    with pytest.raises(SpaceMismatchError, match="image in the space"):
        open_store(open_again.uri, HOME.fingerprint, DIM, prefix=open_again.prefix)


def test_a_store_opens_by_its_record_without_any_model(open_again: Opener, laned: Open) -> None:
    assets, segments = a_corpus(6)
    open_again.close()
    with pytest.raises(StoreMissingError):
        open_recorded(open_again.uri, prefix=open_again.prefix)
    laned().write(assets, segments)
    open_again.close()
    store = open_recorded(open_again.uri, prefix=open_again.prefix)
    open_again.opened.append(store)
    assert store.lanes.resolved(lambda space: space).spaces.keys() == LANES.spaces.keys()
    assert [space.embed_dim for space in store.lanes.spaces.values()] == [DIM, 24]
    assert store.sizes() == {TEXT: 6, IMAGE: 6, AUDIO: 6}
    assert rows_of(store, assets) == sorted(row.key for row in segments)
    store.delete([assets[1].asset_id])
    assert isinstance(store, Checkable)
    assert store.check(lambda _done, _all: None).wrong == {}


def test_a_space_of_another_size_or_of_another_model_is_refused(laned: Open) -> None:
    model = Space(DIM, {"remote": "x"}, probes=("fwAA",))
    laned(StoreLanes.of(model, {}))
    laned(StoreLanes.of(model, {}))
    with pytest.raises(ModelError, match="another model"):
        laned(StoreLanes(replace(StoredSpace.of(model), probes=("AAB/",))))
    with pytest.raises(SpaceMismatchError, match="numbers"):
        laned(StoreLanes(StoredSpace(model.fingerprint, DIM + 1)))


def test_a_lane_is_filled_beside_the_one_that_is_searched(open_again: Opener, laned: Open) -> None:
    """As a move of pictures to another model, and the way back."""
    assets, segments = corpus(6)
    store = laned(ONE)
    store.write(assets, segments)
    (before,) = store.search(vectors(1), [IMAGE], 9)
    filler = open_again.lanes(replace(LANES, filling=ALL_IMAGES))
    unfilled = [row.asset_id for row in filler.scan() if not row.n_segments]
    assert unfilled == [row.asset_id for row in assets if row.modality == IMAGE]
    new_rows = [widened(row) for row in segments if row.modality == IMAGE]
    stranger = replace(assets[1], asset_id="stranger")
    stranger_row = widened(segment("stranger", 0, vectors(1)[0]))
    moved = [replace(row, locations=["/elsewhere"], counts={IMAGE: 3}) for row in assets[1::3]]
    filler.write([*moved[:1], stranger], [*new_rows, stranger_row])
    # What is searched has not changed: neither rows, nor what commit rows say.
    assert list(store.scan()) == list(laned(ONE).scan()) == assets
    store = open_again.opened[-1]
    assert names(store.search(vectors(1), [IMAGE], 9)[0]) == names(before)
    assert store.check(lambda _done, _all: None).wrong == {}
    # One has its segments, but was not counted: it is still to be filled.
    filler = open_again.lanes(replace(LANES, filling=ALL_IMAGES))
    assert [row.asset_id for row in filler.scan() if not row.n_segments] == unfilled[1:]
    filler.write(moved[1:], [])
    # Somebody deletes, and changes tags, meanwhile.
    store.catch_up()
    store.delete([assets[4].asset_id])
    store.write([replace(assets[1], metadata={"title": "new"})], [])
    filler.catch_up()
    assert all(row.n_segments for row in filler.scan())
    open_again.close()
    with space_record(open_again.uri, open_again.prefix) as record:
        former = SearchedSpace(HOME.fingerprint)
        lanes = {"image": PICTURES.fingerprint}
        record.write(SearchedSpace(HOME.fingerprint, lanes=lanes, former=former))
    store = laned()
    assert store.assets(["asset0-1"])["asset0-1"].metadata == {"title": "new"}
    assert [row.n_segments for row in store.scan()] == [3] * 5
    assert store.sizes() == {TEXT: 6, IMAGE: 3, AUDIO: 6}
    assert store.check(lambda _done, _all: None).wrong == {}
    # What is ingested now lacks the former lane: after the way back, it is read again.
    late = replace(assets[1], asset_id="late", locations=["/late"])
    store.write([late], [widened(segment("late", 0, vectors(1)[0]))] * 3)
    store.write([replace(late, counts={IMAGE: 1})], [])
    back = laned(ONE)
    assert {row.asset_id for row in back.scan() if not row.n_segments} == {"late"}
    store = laned()
    assert {row.asset_id for row in store.scan() if not row.n_segments} == set()
    assert store.drop(HOME.fingerprint, IMAGE) == 3
    assert (HOME.fingerprint, IMAGE) not in store.stored_lanes()
    store = laned()
    assert store.sizes() == {TEXT: 6, IMAGE: 4, AUDIO: 6}
    assert store.check(lambda _done, _all: None).wrong == {}


def test_dropped_lanes_are_filled_anew(open_again: Opener, laned: Open) -> None:
    """What was counted in a lane goes with its rows."""
    assets, segments = corpus(3)
    store = laned(ONE)
    store.write(assets, segments)
    filling = replace(LANES, filling=ALL_IMAGES)
    rows = [widened(row) for row in segments if row.modality == IMAGE]
    for _ in range(2):
        filler = open_again.lanes(filling)
        assert [row.n_segments for row in filler.scan()] == [3, 0, 3]
        filler.write([replace(assets[1], counts={IMAGE: 3})], rows)
        assert [row.n_segments for row in filler.scan()] == [3, 3, 3]
        open_again.close()
        assert drop_former(open_again.uri, open_again.prefix) == {PICTURES.fingerprint: 3}
    with pytest.raises(InputError, match="--drop-former"):
        drop_former(open_again.uri, open_again.prefix)
    assert list(laned(ONE).scan()) == assets


def test_a_writer_of_former_lanes_is_stopped(open_again: Opener, laned: Open) -> None:
    store = laned()
    assets, segments = a_corpus(3)
    store.write(assets, segments)
    with space_record(open_again.uri, open_again.prefix) as record:
        current = record.read()
        assert current
        record.write(replace(current, lanes={"image": "0" * 16}))
    with pytest.raises(StoreMovedError):
        store.write(assets, segments)


def test_memory_has_lanes_and_no_others_beside_them() -> None:
    store = open_lanes("memory:", LANES)
    store.write(*a_corpus(3))
    assert store.sizes() == {TEXT: 3, IMAGE: 3, AUDIO: 3}
    assert not isinstance(store, Checkable)
    with space_record("memory:") as record, pytest.raises(StoreError, match="memory"):
        record.write(SearchedSpace("0" * 16))
