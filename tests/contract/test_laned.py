"""Lanes in one folder or on one server: written, read, cut off and proven as one store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import Calibration, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Modality
from search.errors import SpaceMismatchError, StoreMovedError
from search.store.checking import INCOMPLETE, ORPHANED, PLACES
from search.store.laned import LanedStore, rows_of_lane
from search.store.memory import MemoryStore
from search.store.open import open_laned, open_store
from search.store.space_record import SearchedSpace
from search.store.stored_spaces import drop_former, space_record
from search.types import SegmentRow
from tests.contract.conftest import ON_MILVUS, Opener
from tests.contract.rows import CALIBRATION, DIM, asset, corpus, record_of, segment
from tests.contract.test_checking import without_place

HOME = Space(DIM, {"model": "home"}, CALIBRATION)
PICTURES = Space(24, {"model": "pictures"}, {IMAGE: Calibration(0.1, 0.05)})


def widened(row: SegmentRow) -> SegmentRow:
    """A row of the lane of pictures, whose space has more dimensions."""
    if row.modality != IMAGE:
        return row
    embedding = np.concatenate([row.embedding, np.zeros(8, np.float32)])
    return replace(row, embedding=l2_normalize(embedding[None])[0])


def a_corpus(n: int) -> tuple[list[Any], list[SegmentRow]]:
    assets, segments = corpus(n)
    return assets, list(map(widened, segments))


LATE, LATE_ROW = asset("late", "/late"), widened(segment("late", 0, np.ones(DIM, np.float32)))


def asked(modality: Modality) -> Embeddings:
    """A query in the space of a modality."""
    dims = 24 if modality == IMAGE else DIM
    return l2_normalize(np.random.default_rng(5).normal(size=(1, dims)))


Open = Callable[..., LanedStore]


@pytest.fixture
def laned(open_again: Opener) -> Iterator[Open]:
    def opened(lanes: dict[Modality, Space] | None = None, **options: Any) -> LanedStore:
        lanes = {IMAGE: PICTURES} if lanes is None else lanes
        store = open_laned(open_again.uri, HOME, lanes, {}, prefix=open_again.prefix, **options)
        open_again.opened.append(store)
        return store

    return opened


def test_lanes_answer_like_their_oracle_and_after_reopening(
    open_again: Opener, laned: Open
) -> None:
    oracle = LanedStore(
        MemoryStore(DIM, CALIBRATION), {IMAGE: MemoryStore(24, PICTURES.calibration)}
    )
    assets, segments = a_corpus(9)
    store = laned()
    for each in (store, oracle):
        each.write(assets, segments)
        each.write([replace(assets[1], locations=["/moved"])], [])
        each.delete([assets[4].asset_id])
    for _ in range(2):
        assert store.sizes() == oracle.sizes() == {TEXT: 9, IMAGE: 6, AUDIO: 9}
        assert list(store.scan()) == list(oracle.scan())
        assert store.scoring.constants == oracle.scoring.constants
        for modality in (TEXT, IMAGE, AUDIO):
            answers = [each.search(asked(modality), modality, 5)[0] for each in (store, oracle)]
            ids = [[hit.segment_id for hit in hits] for hits in answers]
            assert ids[0] == ids[1]
            assert len(ids[0]) == 5
        by = store.scoring.constants
        mixed = [
            each.search_mixed(asked(TEXT)[0], [TEXT, AUDIO], 9, by=by)[:9]
            for each in (store, oracle)
        ]
        assert [hit.segment_id for hit in mixed[0]] == [hit.segment_id for hit in mixed[1]]
        photo = assets[1].asset_id
        rows = store.embeddings(photo)
        assert [row.embedding.shape for row in rows] == [(24,)] * 3
        assert store.vectors([rows[0].key]).keys() == {rows[0].key}
        assert store.of(IMAGE).assets([photo])[photo].locations == ["/moved"]
        open_again.close()
        store = laned()


@pytest.mark.parametrize(
    ("break_it", "difference"),
    [
        # as a process that is killed between two lanes leaves them, or a deletion
        (lambda store: store.of(IMAGE).write([LATE], [LATE_ROW]), ORPHANED),
        (lambda store: store.home.delete(["asset0-1"]), ORPHANED),
        (lambda store: store.of(IMAGE).delete(["asset0-1"]), INCOMPLETE),
    ],
)
def test_what_was_cut_off_between_lanes_is_found_and_mended(
    laned: Open, break_it: Callable[[LanedStore], None], difference: str
) -> None:
    store = laned()
    store.write(*a_corpus(6))
    assert store.check(lambda _done, _all: None).wrong == {}
    break_it(store)
    findings = store.check(lambda _done, _all: None)
    assert list(findings.wrong) == [difference]
    store.repair(findings)
    assert store.check(lambda _done, _all: None).wrong == {}
    left = {asset.asset_id for asset in store.scan()}
    given_up = set(findings.of(ORPHANED))
    assert left == {f"asset0-{n}" for n in range(6)} - given_up
    for row in store.assets(findings.of(INCOMPLETE)).values():
        assert row.n_segments == 0


@pytest.mark.parametrize("open_again", ON_MILVUS, indirect=True)
def test_a_place_that_the_home_store_lost_is_mended_alone(laned: Open) -> None:
    """By itself, the home store has too few segments of every photo."""
    store = laned()
    store.write(*a_corpus(6))
    without_place(record_of(store.home))
    findings = store.check(lambda _done, _all: None)
    assert list(findings.wrong) == [PLACES]
    store.repair(findings)
    assert store.check(lambda _done, _all: None).wrong == {}
    assert len(list(store.scan())) == 6


def test_the_record_names_the_lanes(open_again: Opener, laned: Open) -> None:
    store = laned()
    store.write(*a_corpus(3))
    with space_record(open_again.uri, open_again.prefix) as record:
        current = record.read()
    assert current == SearchedSpace(HOME.fingerprint, lanes={"image": PICTURES.fingerprint})
    open_again.close()
    other = Space(24, {"model": "other"})
    for lanes in ({}, {IMAGE: other}):
        with pytest.raises(SpaceMismatchError, match="image in the space"):
            laned(lanes)
    with pytest.raises(SpaceMismatchError, match="image in the space"):
        open_store(open_again.uri, HOME.fingerprint, DIM, prefix=open_again.prefix)


def test_what_left_the_home_store_is_neither_searched_nor_kept(
    open_again: Opener, laned: Open
) -> None:
    """As after a move to a lane of pictures, which leaves them for the way back."""
    assets, segments = corpus(6)
    laned({}).write(assets, segments)
    open_again.close()
    lanes = {"image": PICTURES.fingerprint}
    with space_record(open_again.uri, open_again.prefix) as record:
        former = SearchedSpace(HOME.fingerprint)
        record.write(SearchedSpace(HOME.fingerprint, lanes=lanes, former=former))
    store = laned()
    pictures = [widened(row) for row in segments if row.modality == IMAGE]
    store.of(IMAGE).write(rows_of_lane(store.of(IMAGE), assets, pictures), pictures)
    for is_dropped in (False, True):
        if is_dropped:
            open_again.close()
            assert drop_former(open_again.uri, open_again.prefix)
            store = laned()
        assert (IMAGE in store.home.sizes()) is not is_dropped
        assert store.sizes()[IMAGE] == len(pictures)
        stored = [row.key for asset in assets for row in store.embeddings(asset.asset_id)]
        assert sorted(stored) == sorted(row.key for row in segments)
        (hits,) = store.search(asked(IMAGE), IMAGE, 50)
        assert len(hits) == len(pictures)
        findings = store.check(lambda _done, _all: None)
        assert (findings.wrong, findings.n_segments) == ({}, len(segments))


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


def test_memory_has_lanes_and_nothing_to_prove() -> None:
    store = open_laned("memory:", HOME, {IMAGE: PICTURES}, {})
    assert isinstance(store, LanedStore)
    store.write(*a_corpus(3))
    assert store.sizes() == {TEXT: 3, IMAGE: 3, AUDIO: 3}
    with pytest.raises(InputError):
        store.check(lambda _done, _all: None)


def test_one_space_is_no_lanes(laned: Open) -> None:
    assert not isinstance(laned({}), LanedStore)
