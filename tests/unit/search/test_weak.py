from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest

from encoder.space import USUAL_ODDS, Calibration, Floor, Odds, Space
from encoder.types import IMAGE, TEXT, Embeddings, Item
from search import Query, SearchEngine, Term
from search.store.laned import LanedStore
from search.store.memory import MemoryStore
from search.types import AssetRow, SegmentRow

DIM = 8


class Directions:
    """Takes contents that are vectors, or words for the first axis."""

    space = Space(DIM, {}, {IMAGE: Calibration(0.0, 0.5)}, floors={TEXT: Floor(0.6, 0.1, 3)})

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        first = np.eye(DIM, dtype=np.float32)[0]
        return np.stack([first if isinstance(i.content, str) else i.content for i in items])


@pytest.fixture
def engine() -> SearchEngine:
    store = MemoryStore(DIM, Directions.space.calibration)
    for name, cosine in (("near", 0.9), ("far", 0.5), ("named", 0.4)):
        row = np.zeros(DIM, np.float32)
        row[:2] = cosine, np.sqrt(1 - cosine**2)
        text = "the red boat of Anna" if name == "named" else "something else that is red"
        store.write(
            [AssetRow(name, TEXT, "text/plain", 1, 1, [f"/{name}"])],
            [SegmentRow(name, name, TEXT, 0, row, snippet=text)],
        )
    return SearchEngine(Directions(), store)


def weak(engine: SearchEngine, *terms: Item | Term, **options: object) -> dict[str, bool]:
    hits = engine.search(Query(terms, **options)).hits  # type: ignore[arg-type]
    return {hit.asset_id: hit.weak for hit in hits}


def test_a_match_below_the_floor_is_weak_unless_it_holds_all_words(engine: SearchEngine) -> None:
    assert weak(engine, Item(TEXT, "boat Anna")) == {"near": False, "named": False, "far": True}
    assert weak(engine, Item(TEXT, "red car")) == {"near": False, "named": True, "far": True}
    assert weak(engine, Item(TEXT, "Anna"), lexical=False)["named"]


def test_the_probability_rises_with_the_score_and_with_words_that_are_all_there(
    engine: SearchEngine,
) -> None:
    def probabilities(text: str) -> dict[str, float | None]:
        return {h.asset_id: h.probability for h in engine.search(Query([Item(TEXT, text)])).hits}

    near, far, named = itemgetter("near", "far", "named")(probabilities("red car"))
    assert 0 < named < far < USUAL_ODDS.least < near < 1
    assert probabilities("boat Anna")["named"] == 0.5
    picture = Item(IMAGE, np.eye(DIM, dtype=np.float32)[0])
    assert [hit.probability for hit in engine.search(Query([picture])).hits] == [None] * 3


def test_the_floor_says_nothing_of_other_queries(engine: SearchEngine) -> None:
    picture = np.eye(DIM, dtype=np.float32)[0]
    assert not any(weak(engine, Item(IMAGE, picture)).values())
    assert not any(weak(engine, Item(TEXT, "a"), Term(Item(TEXT, picture), weight=-0.1)).values())


def test_the_floor_goes_by_the_query(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def floor(tilt: float) -> Space:
        tilts = (tilt, *[0.0] * (DIM - 1))
        return replace(Directions.space, floors={TEXT: Floor(0.6, 0.0, 3, tilts)})

    monkeypatch.setattr(Directions, "space", floor(0.15))  # .45 for queries along the first axis
    assert weak(engine, Item(TEXT, "car")) == {"near": False, "named": True, "far": False}
    monkeypatch.setattr(Directions, "space", floor(-0.4))
    assert all(weak(engine, Item(TEXT, "car")).values())


def test_a_lane_has_the_odds_of_its_own_model() -> None:
    class Pictures(Directions):
        space = replace(
            Directions.space, floors={IMAGE: Floor(0.2, 0.0, 3)}, odds=Odds(4.0, 1.0, 0.3)
        )
        model, modalities = "pictures", frozenset({TEXT, IMAGE})

    class Texts(Pictures):
        space, model = Directions.space, "texts"

    store = LanedStore(MemoryStore(DIM), {IMAGE: MemoryStore(DIM, Pictures.space.calibration)})
    row = np.eye(DIM, dtype=np.float32)[0] * 0.5 + np.eye(DIM, dtype=np.float32)[1] * 0.75**0.5
    for kind in (TEXT, IMAGE):
        asset = AssetRow(kind, kind, f"{kind}/x", 1, 1, [f"/{kind}"])
        store.write([asset], [SegmentRow(kind, kind, kind, 0, row)])
    engine = SearchEngine(Texts(), store, lanes={IMAGE: Pictures()})
    hits = {h.modality: h for h in engine.search(Query([Item(TEXT, "a")])).hits}
    engine.close()
    assert hits[TEXT].probability == pytest.approx(USUAL_ODDS.of(0.5 - 0.6), abs=0.02)
    assert hits[IMAGE].probability == pytest.approx(Pictures.space.odds.of(1.0 - 0.2))
    assert not hits[IMAGE].weak


def test_the_floor_rises_with_the_store() -> None:
    assert Floor(0.6, 0.1, 3).among(3) == 0.6
    assert Floor(0.6, 0.1, 3).among(3000) == pytest.approx(0.6 + 0.1 * np.log(1000))
    assert Floor(0.6, 0.1, 3).among(0) < 0.6
