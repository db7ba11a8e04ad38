from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.space import Calibration, Sideways, Space
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Embeddings, Item, Modality, Role
from search import Deadline, Query, SearchEngine, Term, as_json
from search.errors import CancelledError, TimeLimitError
from search.store.memory import MemoryStore
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow
from tests.support.encoders import Given

DIM = 8


class DirectionEncoder(Given):
    """One that notes what it was asked for."""

    def __init__(self, calibration: dict[Modality, Calibration] | None = None) -> None:
        super().__init__(Space(DIM, {"model": "directions"}, calibration or {}))
        self.calls: list[list[Modality]] = []
        self.roles: list[Role] = []

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        self.calls.append([item.modality for item in items])
        self.roles += [item.role for item in items]
        return super().encode_items(items)


def axis(*numbers: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.eye(DIM, dtype=np.float32)[list(numbers)].sum(axis=0)


def add(store: MemoryStore, name: str, kind: Modality, *embeddings: Embeddings) -> None:
    rows = [
        SegmentRow(segment_id(name, kind, i, "f"), name, kind, i, row, start_s=float(i))
        for i, row in enumerate(embeddings)
    ]
    asset = AssetRow(name, kind, "x/y", 1, {kind: len(rows)}, [f"/{name}", f"/copy/{name}"])
    store.write([asset], rows)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(DIM)


def uris(engine: SearchEngine, query: Query) -> list[str]:
    return [hit.uri for hit in engine.search(query).hits]


def test_a_late_page_takes_few_more_candidates_than_were_shown(store: MemoryStore) -> None:
    for number in range(400):
        add(store, f"{number:03}", IMAGE, axis(0) + number / 400 * axis(1))
    engine = SearchEngine(DirectionEncoder(), store)
    query = Query([Item(IMAGE, axis(0))], limit=20, explain=True)
    shown: list[str] = []
    for _ in range(10):
        page = engine.search(query)
        shown += [hit.asset_id for hit in page.hits]
        query = replace(query, cursor=page.next_cursor)
    assert shown == [f"{number:03}" for number in range(200)]
    assert page.explain is not None
    assert page.explain["modalities"]["image"]["candidates"] == 180 + 4 * 21


def test_what_is_asked_is_encoded_as_a_query(store: MemoryStore) -> None:
    add(store, "sound", AUDIO, axis(0))
    encoder = DirectionEncoder()
    engine = SearchEngine(encoder, store)
    terms = [
        Item(TEXT, axis(0)),
        Term(Item(TEXT, axis(1)), weight=2.0),
        Term(Item(TEXT, axis(2)), weight=-0.5),
        Term(Item(IMAGE, axis(0))),
        Item(AUDIO, axis(0)),
        Term(asset_id="sound"),
        Term(Item(VIDEO, axis(3)), role="document"),  # as a file that is to find its like
    ]
    engine.search(Query(terms))
    assert encoder.roles == ["query"] * 5 + ["document"]


def test_words_that_were_hardly_understood_count_less(store: MemoryStore) -> None:
    heard = [(0, axis(0), 0.4), (1, axis(0) + axis(1), 0.9), (2, axis(0) + 2 * axis(1), 1.0)]
    for number, embedding, confidence in heard:
        key = segment_id("talk", TEXT, number, "f")
        row = SegmentRow(key, "talk", TEXT, number, embedding, confidence=confidence, language="fr")
        store.write([AssetRow("talk", AUDIO, "x/y", 1, {AUDIO: 3}, ["/talk"])], [row])
    engine = SearchEngine(DirectionEncoder(), store)
    query = axis(0) + 0.3 * axis(1)
    for limit in (1, 3):
        hits = engine.search(Query([Item(TEXT, query)], limit=limit, group_by="segment")).hits
        found = [(hit.confidence, hit.language) for hit in hits]
        assert found == [(0.9, "fr"), (1.0, "fr"), (0.4, "fr")][:limit]


LOW = {AUDIO: Calibration(0.99, 0.1), IMAGE: Calibration(0.1, 0.1)}
HIGH = {AUDIO: Calibration(0.1, 0.1), IMAGE: Calibration(0.99, 0.1)}


def test_the_constants_of_the_store_win_over_those_of_the_model(store: MemoryStore) -> None:
    add(store, "picture", IMAGE, axis(0) + 0.5 * axis(1))
    add(store, "sound", AUDIO, axis(0) + 0.1 * axis(1))
    engine = SearchEngine(DirectionEncoder(LOW), store)
    assert uris(engine, Query([Item(TEXT, axis(0))])) == ["/picture", "/sound"]
    store.recalibrate(HIGH, {"source": "measured"})
    assert uris(engine, Query([Item(TEXT, axis(0))])) == ["/sound", "/picture"]
    assert engine.space().calibration == HIGH
    assert engine.space().fingerprint == DirectionEncoder().space.fingerprint


def test_an_answer_goes_by_one_set_of_constants(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for number in range(60):
        noise = axis(0) + 2 * rng.normal(size=DIM).astype(np.float32)
        add(store, f"{number}", (AUDIO, IMAGE)[number % 2], noise)
    engine = SearchEngine(DirectionEncoder(), store)
    query = Query([Item(TEXT, axis(0))], limit=5, explain=True)
    wanted = {}
    for name, constants in (("low", LOW), ("high", HIGH)):
        store.recalibrate(constants, {"source": "measured"})
        wanted[name] = engine.search(query).hits
    assert wanted["low"] != wanted["high"]
    mixed = store.search

    def changed_meanwhile(*args: Any, **options: Any) -> Any:
        found = mixed(*args, **options)
        store.recalibrate(LOW, {"source": "measured"})
        return found

    def changed_before(*args: Any, **options: Any) -> Any:
        store.recalibrate(LOW, {"source": "measured"})
        return mixed(*args, **options)

    for change in (changed_meanwhile, changed_before):
        store.recalibrate(HIGH, {"source": "measured"})
        monkeypatch.setattr(store, "search", change)
        assert engine.search(query).hits == wanted["high"]
        assert store.calibrations.scoring().constants == LOW


def test_several_items_are_fused_and_each_modality_is_encoded_once(store: MemoryStore) -> None:
    add(store, "both", IMAGE, axis(0, 1))
    add(store, "one", IMAGE, axis(0))
    encoder = DirectionEncoder()
    result = SearchEngine(encoder, store).search(
        Query([Item(TEXT, axis(0)), Item(IMAGE, axis(1)), Item(TEXT, axis(0, 1))])
    )
    assert [hit.uri for hit in result.hits] == ["/both", "/one"]
    assert encoder.calls == [[TEXT, TEXT], [IMAGE]]


def test_a_search_ends_when_it_is_cancelled(store: MemoryStore) -> None:
    deadline = Deadline()
    deadline.cancel()
    encoder = DirectionEncoder()
    with pytest.raises(CancelledError):
        SearchEngine(encoder, store).search(Query([Item(TEXT, axis(0))]), deadline)
    assert encoder.calls == []


def test_a_search_ends_when_its_time_is_over(store: MemoryStore) -> None:
    """Encoding took all the time there was: the store is not asked."""
    now_s = [0.0]

    class SlowEncoder(DirectionEncoder):
        def encode_items(self, items: Sequence[Item]) -> Embeddings:
            now_s[0] += 3.0
            return super().encode_items(items)

    encoder, deadline = SlowEncoder(), Deadline(2.0, clock=lambda: now_s[0])
    with pytest.raises(TimeLimitError, match="2 s"):
        SearchEngine(encoder, store).search(Query([Item(TEXT, axis(0))]), deadline)
    assert len(encoder.calls) == 1
    in_time = Deadline(4.0, clock=lambda: now_s[0])
    assert SearchEngine(encoder, store).search(Query([Item(TEXT, axis(0))]), in_time).hits == []


def test_a_film_is_one_hit_at_its_best_moment(store: MemoryStore) -> None:
    add(store, "film", VIDEO, *[axis(0) + k * axis(1) for k in (3.0, 0.1, 2.0)])
    hits = SearchEngine(DirectionEncoder(), store).search(Query([Item(TEXT, axis(0))])).hits
    assert [(hit.asset_id, hit.start_s) for hit in hits] == [("film", 1.0)]
    assert [moment.start_s for moment in hits[0].moments] == [2.0, 0.0]


def test_a_long_film_does_not_crowd_out_the_rest(store: MemoryStore) -> None:
    add(store, "film", IMAGE, *[axis(0)] * 700)
    for number in range(12):
        add(store, f"picture{number:02}", IMAGE, axis(0) + 0.1 * (number + 1) * axis(1))
    engine = SearchEngine(DirectionEncoder(), store)
    found = uris(engine, Query([Item(TEXT, axis(0))], limit=10))
    assert found == ["/film", *[f"/picture{number:02}" for number in range(9)]]


def test_each_stage_is_timed_and_tracked(store: MemoryStore) -> None:
    add(store, "picture", IMAGE, axis(0))
    engine = SearchEngine(DirectionEncoder(), store)
    result = engine.search(Query([Item(TEXT, axis(0)), Item(AUDIO, axis(0))]))
    encoding = ["encode_text", "encode_audio"]
    stages = ["plan", *encoding, "search", "lexical", "fuse", "fetch", "total"]
    assert list(result.latency_s) == stages
    parts = sum(seconds for stage, seconds in result.latency_s.items() if stage != "total")
    assert 0 < parts <= result.latency_s["total"]
    assert engine.latency.percentiles()["total"].max_s == result.latency_s["total"]


def test_the_json_is_the_contract(store: MemoryStore) -> None:
    add(store, "picture", IMAGE, axis(0))
    result = SearchEngine(DirectionEncoder(), store).search(Query([Item(TEXT, axis(0))]))
    answer = json.loads(json.dumps(as_json(result)))
    assert answer["hits"] == [
        {
            "asset_id": "picture",
            "segment_id": segment_id("picture", IMAGE, 0, "f"),
            "uri": "/picture",
            "modality": "image",
            "score": pytest.approx(1.0),
            "start_s": 0.0,
            "end_s": None,
            "char_start": None,
            "char_end": None,
            "snippet": "",
            "confidence": 1.0,
            "language": "",
            "boxes": [],
            "regions": [],
            "place": {},
            "matches": [],
            "title": "",
            "media_type": "x/y",
            "duration_s": None,
            "metadata": {},
            "moments": [],
            "explanation": None,
            "probability": None,
            "weak": False,
            "rerank_score": None,
            "stack": [],
        }
    ]
    assert answer["latency_s"]["total"] > 0
    assert (answer["next_cursor"], answer["explain"]) == ("", None)


class LaggingStore(MemoryStore):
    """Sees what another wrote once it has caught up."""

    def __init__(self) -> None:
        super().__init__(DIM)
        self.others = MemoryStore(DIM)

    def catch_up(self) -> None:
        for row in self.others.scan():
            self.write([row], self.others.embeddings(row.asset_id))


@pytest.mark.parametrize(("consistency", "found"), [("session", []), ("strong", ["/a"])])
def test_a_strong_query_catches_up_first(
    consistency: Literal["session", "strong"], found: list[str]
) -> None:
    store = LaggingStore()
    add(store.others, "a", TEXT, axis(0))
    engine = SearchEngine(DirectionEncoder(), store)
    assert uris(engine, Query([Item(TEXT, axis(0))], consistency=consistency)) == found


def test_a_strong_query_starts_from_an_asset_that_another_just_wrote() -> None:
    store = LaggingStore()
    add(store.others, "a", TEXT, axis(0))
    add(store.others, "b", TEXT, axis(0) + axis(1))
    engine = SearchEngine(DirectionEncoder(), store)
    assert uris(engine, Query([Term(asset_id="a")], consistency="strong")) == ["/b"]


BY = {IMAGE: Calibration(0.5, 0.1, (Calibration(-0.5, 1.0),)), AUDIO: Calibration(0.1, 0.1)}


def pictures(rows: NDArray[np.float32]) -> MemoryStore:
    """Pictures /0, /1 and so on by their rows, [n, 2, DIM]."""
    store = MemoryStore(DIM, BY)
    for number, of_one in enumerate(rows):
        name, key = f"{number}", segment_id(f"{number}", IMAGE, 0, "f")
        parts = [SegmentRow(key, name, IMAGE, 0, one, row=row) for row, one in enumerate(of_one)]
        store.write([AssetRow(name, IMAGE, "x/y", 1, {IMAGE: 1}, [f"/{name}"])], parts)
    return store


def found(store: MemoryStore, limit: int) -> list[str]:
    query = Query([Item(TEXT, axis(0))], [IMAGE], limit=limit)
    return [hit.uri for hit in SearchEngine(DirectionEncoder(BY), store).search(query).hits]


WIDE, TALL = (2, 4), (4, 2)


class Corners:
    """Embeds a picture by the brightness of its first corner; tall ones seem to lie on a side."""

    def __init__(self, limit: float) -> None:
        direction = np.zeros(DIM, np.float32)
        direction[7] = 1.0
        self.space = Space(DIM, {}, sideways=Sideways(direction, limit))
        self.n_encoded = 0

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        self.n_encoded += len(items)
        return np.stack([embedding(item.content) for item in items])


def embedding(rgb: NDArray[np.uint8]) -> Embeddings:
    row = np.zeros(DIM, np.float32)
    row[rgb[0, 0, 0]] = 0.8
    row[7 if rgb.shape[0] > rgb.shape[1] else 6] = 0.6
    return row


def picture(first: int, size: tuple[int, int] = WIDE) -> NDArray[np.uint8]:
    """All 0 but the first corner."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[0, 0] = first
    return rgb


@pytest.mark.parametrize(
    ("asked", "limit", "best", "n_encoded"),
    [
        (np.rot90(picture(3)), 0.5, "three", 3),
        (np.rot90(picture(3), 3), 0.5, "three", 3),
        (picture(3), 0.5, "three", 1),
        (picture(4, TALL), 0.5, "tall", 3),  # one that is stored as it is
        (np.rot90(picture(3)), 0.9, "tall", 1),
    ],
)
def test_a_picture_is_turned_if_that_finds_a_nearer_one(
    asked: NDArray[np.uint8], limit: float, best: str, n_encoded: int
) -> None:
    store, encoder = MemoryStore(DIM), Corners(limit)
    stored = {"three": picture(3), "five": picture(5), "tall": picture(4, TALL)}
    for name, rgb in stored.items():
        row = SegmentRow(f"{name}-0", name, IMAGE, 0, embedding(rgb))
        store.write([AssetRow(name, IMAGE, "image/png", 1, {IMAGE: 1}, [f"/{name}"])], [row])
    hits = SearchEngine(encoder, store).search(Query([Item(IMAGE, asked)])).hits
    assert (hits[0].asset_id, encoder.n_encoded) == (best, n_encoded)
