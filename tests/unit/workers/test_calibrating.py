from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from encoder import MultiModalEncoder
from encoder.calibration.measure import sample_queries
from encoder.errors import InputError
from encoder.space import Calibration, Centring, Space, l2_normalize
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Embeddings, Item, Modality
from search import Query, SearchEngine
from search.errors import StoreError
from search.store.base import VectorStore
from search.store.calibrated import flat, number_of
from search.store.memory import MemoryStore
from search.store.open import open_store
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from workers.pipeline import IngestPipeline
from workers.pipeline import calibration as calibrating
from workers.pipeline.calibration import alone_here, calibrate, calibrate_if_due

pytestmark = pytest.mark.slow

DIM = 32
WHERE = {TEXT: 0, IMAGE: 1, AUDIO: 2}
SHIPPED = {TEXT: Calibration(0.2, 0.1)}


class GappedEncoder:
    """A space whose modalities lie in separate cones, as in CLIP."""

    modalities = frozenset(WHERE)

    def __init__(self, shipped: dict[Modality, Calibration] | None = None) -> None:
        self.space = Space(DIM, {"model": "gapped"}, shipped or {})

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        return np.stack([self._row(item) for item in items])

    def _row(self, item: Item) -> Embeddings:
        seed = zlib.crc32(f"{item.content}".encode())
        row = np.random.default_rng(seed).normal(size=DIM) / np.sqrt(DIM)
        row[WHERE[item.modality]] += 1.0
        return l2_normalize(row[None])[0]


ENCODER = cast("MultiModalEncoder", GappedEncoder())


def fill(store: VectorStore, **n_segments: int) -> None:
    for name, n in n_segments.items():
        kind = Modality(name)
        rows = ENCODER.encode_items([Item(kind, f"{kind} {place}") for place in range(n)])
        ids = [f"{kind}{place}" for place in range(n)]
        segments = [
            SegmentRow(segment_id(one, kind, 0, "f"), one, kind, 0, row)
            for one, row in zip(ids, rows, strict=True)
        ]
        store.write(
            [AssetRow(one, kind, "x/y", 1, {kind: 1}, [f"/{one}"]) for one in ids], segments
        )


@pytest.fixture(params=["memory:", "lite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """Texts and pictures in a store that nobody has calibrated."""
    uri = "memory:" if request.param == "memory:" else str(tmp_path / "store")
    made = open_store(uri, ENCODER.space.fingerprint, DIM)
    fill(made, text=240, image=240)
    yield made
    made.close()


def best_kinds(store: VectorStore) -> list[Modality]:
    engine = SearchEngine(ENCODER, store)
    hits = [
        hit.modality
        for text in ("a boat on a lake", "ein Hund bellt", "城市")
        for hit in engine.search(Query([Item(TEXT, text)], limit=20)).hits
    ]
    engine.close()
    return hits


def test_the_shipped_queries_are_encoded_as_queries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    store = MemoryStore(DIM)
    fill(store, text=9, image=9)
    asked: list[Item] = []

    class Listening(GappedEncoder):
        def encode_items(self, items: Sequence[Item]) -> Embeddings:
            asked.extend(items)
            return super().encode_items(items)

    calibrate(cast("MultiModalEncoder", Listening()), store, dry_run=True)
    queries = sample_queries()
    as_queries = {item.content for item in asked if item.role == QUERY}
    assert as_queries == {query.text for query in queries}


def test_queries_are_encoded_once_on_a_machine_and_again_by_another_query_tower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    shipped = dict.fromkeys(WHERE, Calibration(0.2, 0.1))

    class Counting(GappedEncoder):
        def __init__(self, prompt: str) -> None:
            super().__init__(shipped)
            self.prompt, self.n_encoded = prompt, 0

        def encode_items(self, items: Sequence[Item]) -> Embeddings:
            self.n_encoded += len(items)
            return super().encode_items(
                [Item(i.modality, f"{self.prompt}{i.content}") for i in items]
            )

    def reading(encoder: Counting) -> dict[str, list[float]]:
        store = MemoryStore(DIM, shipped)
        fill(store, text=400)
        assert calibrate_if_due(cast("MultiModalEncoder", encoder), store, alone_here)
        return flat(store.calibrations.scoring().constants)

    first, again, other = Counting(""), Counting(""), Counting("query: ")
    assert reading(first) == reading(again) != reading(other)
    assert again.n_encoded < first.n_encoded
    assert other.n_encoded == first.n_encoded


def test_a_score_means_the_same_for_every_kind(store: VectorStore) -> None:
    calibrate(ENCODER, store)
    engine = SearchEngine(ENCODER, store)
    scores: dict[Modality, list[float]] = {TEXT: [], IMAGE: []}
    for place in range(10):
        asked = [Item(TEXT, f"another question, number {place}")]
        for hit in engine.search(Query(asked, limit=480)).hits:
            scores[hit.modality].append(hit.score)
    for kind, found in scores.items():
        assert len(found) == 2400, kind
        assert np.mean(found) == pytest.approx(0, abs=0.3)
        assert np.std(found) == pytest.approx(1, abs=0.15)
    engine.close()


def test_what_the_model_ships_can_be_restored(store: VectorStore) -> None:
    bundle = cast("MultiModalEncoder", GappedEncoder(SHIPPED))
    calibrate(bundle, store)
    assert store.calibrations.scoring().constants != SHIPPED
    found = calibrate(bundle, store, shipped=True)
    assert store.calibrations.scoring().constants == SHIPPED
    assert found["calibration"]["source"] == "shipped"
    with pytest.raises(InputError, match="ships no constants"):
        calibrate(ENCODER, store, shipped=True)


def test_an_empty_store_cannot_be_measured() -> None:
    with pytest.raises(InputError, match="nothing stored yet"):
        calibrate(ENCODER, MemoryStore(DIM))


@contextmanager
def not_alone() -> Iterator[bool]:
    yield False


def test_a_store_is_calibrated_by_itself_once_it_has_200_segments_of_two_kinds() -> None:
    store = MemoryStore(DIM)
    fill(store, text=500, image=199)
    assert not calibrate_if_due(ENCODER, store, alone_here)
    fill(store, image=200)
    assert not calibrate_if_due(ENCODER, store, not_alone)
    with alone_here():
        assert not calibrate_if_due(ENCODER, store, alone_here)
    assert store.calibrations.scoring().constants == {}
    assert calibrate_if_due(ENCODER, store, alone_here)
    assert set(store.calibrations.scoring().constants) == {TEXT, IMAGE}
    assert not calibrate_if_due(ENCODER, store, alone_here)
    fill(store, audio=199, image=1999)
    assert not calibrate_if_due(ENCODER, store, alone_here)
    fill(store, audio=200)
    assert calibrate_if_due(ENCODER, store, alone_here)
    assert set(store.calibrations.scoring().constants) == {TEXT, IMAGE, AUDIO}
    before = store.calibrations.current().about["modalities"]["audio"]
    fill(store, audio=1999)
    assert not calibrate_if_due(ENCODER, store, alone_here)
    fill(store, audio=2000)
    assert calibrate_if_due(ENCODER, store, alone_here)
    after = store.calibrations.current().about["modalities"]["audio"]
    assert (before["n_segments"], after["n_segments"]) == (200, 2000)


def test_a_bundles_store_is_measured_again_once_half_of_it_is_new_or_gone() -> None:
    constants = {
        TEXT: Calibration(0.2, 0.1),
        IMAGE: Calibration(0.0, 0.1),
        AUDIO: Calibration(0.9, 0.1),
    }
    made = GappedEncoder(constants)
    bundle = cast("MultiModalEncoder", made)
    store = MemoryStore(DIM, constants)
    fill(store, text=400, image=49, audio=60)
    assert calibrate_if_due(bundle, store, alone_here)
    measured = calibrate(bundle, store, dry_run=True)["measured"]["text"]["mu"]
    state = store.calibrations.current()
    for kind in (IMAGE, AUDIO):  # few, and no higher
        assert state.constants[kind] == constants[kind]
    assert state.constants[TEXT].mu == pytest.approx((200 * 0.2 + 400 * measured) / 600)
    engine = SearchEngine(bundle, store)
    assert engine.space().calibration == state.constants
    (best, *_) = engine.search(Query([Item(TEXT, "a boat on a lake")])).hits
    asked = bundle.encode_items([Item(TEXT, "a boat on a lake")])[0]
    cosine = float(asked @ store.embeddings(best.asset_id)[0].embedding)
    assert best.score == pytest.approx(state.constants[best.modality].apply(cosine), abs=1e-4)
    engine.close()
    fill(store, text=599)
    assert not calibrate_if_due(bundle, store, alone_here)
    fill(store, text=600)
    assert calibrate_if_due(bundle, store, alone_here)
    store.delete([f"text{place}" for place in range(299)])
    assert not calibrate_if_due(bundle, store, alone_here)
    store.delete(["text299"])
    assert calibrate_if_due(bundle, store, alone_here)
    calibrate(bundle, store, shipped=True)  # somebody prefers these
    assert not calibrate_if_due(bundle, store, alone_here)
    assert store.calibrations.scoring().constants == constants


def test_a_store_that_fails_does_not_fail_what_was_ingested(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(DIM)
    fill(store, text=200, image=200)

    def fails(*_: Any) -> int:
        raise StoreError("The store is full.")

    monkeypatch.setattr(store, "recalibrate", fails)
    with caplog.at_level(logging.WARNING, logger=calibrating.__name__):
        assert not calibrate_if_due(ENCODER, store, alone_here)
    assert "The store is full." in caplog.text


def test_shards_lead_to_a_calibration_unless_the_pipeline_is_to_make_none() -> None:
    store = MemoryStore(DIM)
    fill(store, text=200, image=200)
    encoder = cast("MultiModalEncoder", ENCODER)
    IngestPipeline(encoder, store, calibrate=False).calibrate_if_due()
    assert store.calibrations.scoring().constants == {}
    pipeline = IngestPipeline(encoder, store)
    pipeline.calibrate_if_due()
    assert set(store.calibrations.scoring().constants) == {TEXT, IMAGE}
    fill(store, audio=200)
    pipeline.calibrate_if_due()  # a minute has not passed
    assert set(store.calibrations.scoring().constants) == {TEXT, IMAGE}
    IngestPipeline(encoder, store).calibrate_if_due()
    assert set(store.calibrations.scoring().constants) == {TEXT, IMAGE, AUDIO}


def test_a_kind_that_the_model_has_no_constants_for_is_measured_alone() -> None:
    constants = {TEXT: Calibration(0.5, 0.1), IMAGE: Calibration(0.0, 0.1)}
    encoder = cast("MultiModalEncoder", GappedEncoder(constants))
    store = open_store("memory:", encoder.space.fingerprint, DIM, calibration=constants)
    fill(store, text=49, image=49, audio=8)
    assert not calibrate_if_due(encoder, store, alone_here)
    assert AUDIO not in best_kinds(store)
    fill(store, audio=40)
    assert calibrate_if_due(encoder, store, alone_here)
    state = store.calibrations.current()
    assert {kind: state.constants[kind] for kind in constants} == constants
    assert state.about["source"] == "shipped"
    assert 3 < best_kinds(store).count(AUDIO) < 40
    assert not calibrate_if_due(encoder, store, alone_here)
    fill(store, audio=400)
    assert calibrate_if_due(encoder, store, alone_here)
    assert store.calibrations.current().about["modalities"]["audio"]["n_segments"] == 400


def test_a_store_from_before_the_model_centred_queries_is_measured_again() -> None:
    before = {TEXT: Calibration(0.5, 0.1), IMAGE: Calibration(0.0, 0.1)}
    now = {**before, TEXT: Calibration(0.4, 0.1, share=0.8)}
    made = GappedEncoder(now)
    languages = np.eye(2, DIM, 4, dtype=np.float32)
    centring = Centring(languages, languages, np.eye(1, DIM, dtype=np.float32)[0])
    made.space = replace(made.space, centring=centring)
    encoder = cast("MultiModalEncoder", made)
    store = MemoryStore(DIM, before)
    fill(store, text=60, image=60)
    engine = SearchEngine(encoder, store)
    assert engine.space().calibration == now
    noted = {"source": "measured", "beside": number_of(before)}
    store.recalibrate(before, noted)
    assert engine.space().calibration == now
    store.recalibrate(before, {"source": "measured"})
    assert engine.space().calibration == before
    assert calibrate_if_due(encoder, store, alone_here)
    assert engine.space().share == store.calibrations.current().constants[TEXT].share == 0.8
    assert not calibrate_if_due(encoder, store, alone_here)
    wider = {**now, IMAGE: Calibration(0.0, 0.2)}  # of the model's next version
    made.space = replace(made.space, calibration=wider)
    assert engine.space().calibration[IMAGE] == wider[IMAGE]
    assert calibrate_if_due(encoder, store, alone_here)
    assert engine.space().calibration[IMAGE].c == 0.2
    assert not calibrate_if_due(encoder, store, alone_here)
    calibrate(encoder, store)
    assert store.calibrations.current().constants[TEXT].share == 0.8
    engine.close()
