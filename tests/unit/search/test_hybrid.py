"""Words and vectors together, more like this, and reasons, over a store of a few rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from encoder.space import Calibration, Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Item, Modality
from search import Query, SearchEngine, Term
from search.errors import NotFoundError
from search.filters import Filter
from search.store.memory import MemoryStore
from search.types import AssetRow, ScoredSegment, SegmentRow
from tests.support.encoders import Alike

DIM = 4


NORTH = Space(DIM, {}, {TEXT: Calibration(0.1, 0.2), IMAGE: Calibration(0.2, 0.1)})


class WordStore(MemoryStore):
    """Counts the words that a text shares with the query."""

    def __init__(self, calibration: Mapping[Modality, Calibration]) -> None:
        super().__init__(DIM, calibration)
        self.asked: list[str] = []
        self.has_asked = Event()

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        self.asked.append(text)
        self.has_asked.set()
        (rows,) = self.search(north(0.0)[None], [TEXT], 1000, asset_ids=asset_ids, filter=filter)
        words = set(text.lower().split())
        scored = [r._replace(cosine=float(len(words & set(r.snippet.split())))) for r in rows]
        found = [row for row in scored if row.cosine]
        return sorted(found, key=lambda row: (-row.cosine, row.segment_id))[:limit]


def north(turned: float, axis: int = 1) -> Embeddings:
    row = np.zeros((1, DIM), np.float32)
    row[0, 0], row[0, axis] = 1.0, turned
    return l2_normalize(row)[0]


@pytest.fixture(params=[True, False], ids=["mixed", "each"])
def store(request: pytest.FixtureRequest) -> WordStore:
    """One that finds all kinds by one search, and one that was made with other constants."""
    store = WordStore(NORTH.calibration if request.param else {})
    add(store, "near", TEXT, north(0.8), "a boat on the water")
    add(store, "words", TEXT, north(2.0), "error e4711 of the pump")
    add(store, "far", TEXT, north(3.0), "nothing of the kind")
    add(store, "picture", IMAGE, north(1.0))
    add(store, "other", IMAGE, north(4.0))
    return store


def add(store: MemoryStore, name: str, kind: Modality, row: Embeddings, text: str = "") -> None:
    segment = SegmentRow(f"{name}-0", name, kind, 0, row, snippet=text)
    store.write([AssetRow(name, kind, "x/y", 1, {kind: 1}, [f"/{name}"])], [segment])


def found(store: MemoryStore, query: Query) -> list[str]:
    return [hit.asset_id for hit in SearchEngine(Alike(NORTH), store).search(query).hits]


PUMP = Query([Item(TEXT, "pump error E4711")])


def test_words_lift_a_text_in_the_list_of_all_kinds(store: WordStore) -> None:
    add(store, "words", TEXT, north(1.2), "error e4711 of the pump")
    dense = found(store, replace(PUMP, lexical=False))
    hybrid = found(store, PUMP)
    assert dense == ["picture", "near", "words", "far", "other"]
    assert hybrid == ["words", "picture", "near", "far", "other"]
    assert store.asked == ["pump error E4711"]


def test_only_what_pulls_is_looked_for_in_words(store: WordStore) -> None:
    terms = [Term(Item(TEXT, "pump")), Term(Item(TEXT, "boat"), weight=-0.2), Item(IMAGE, None)]
    found(store, Query(terms))
    assert store.asked == ["pump"]
    found(store, Query([Item(IMAGE, None)]))
    assert store.asked == ["pump"]


def test_a_store_without_words_answers_by_vectors() -> None:
    plain = MemoryStore(DIM)
    add(plain, "near", TEXT, north(0.5), "pump error")
    assert found(plain, replace(PUMP, lexical=True)) == ["near"]


def test_words_say_where_they_were_found(store: WordStore) -> None:
    result = SearchEngine(Alike(NORTH), store).search(replace(PUMP, explain=True))
    (rank, hit), *_ = [(n, hit) for n, hit in enumerate(result.hits, 1) if hit.matches]
    assert [hit.snippet[start:end] for start, end in hit.matches] == ["error", "e4711", "pump"]
    why = hit.explanation
    assert why is not None
    assert (why.dense_rank, why.lexical_rank, why.lexical_score, why.rank) == (2, 1, 3.0, rank)
    assert why.dense_score == pytest.approx((1 / np.sqrt(5) - 0.1) / 0.2, abs=1e-5)
    assert why.score == hit.score > why.dense_score
    assert result.explain is not None
    image = {"candidates": 2, "level": None, "mu": 0.2, "c": 0.1, "further": []}
    assert result.explain["modalities"]["image"] == image
    assert result.explain["words"] == "pump error E4711"


def test_each_term_is_explained(store: WordStore) -> None:
    terms = [Item(TEXT, "a"), Term(asset_id="picture", weight=-0.5)]
    query = Query(terms, [IMAGE], explain=True)
    (hit,) = SearchEngine(Alike(NORTH), store).search(query).hits
    assert hit.explanation is not None
    text, asset = hit.explanation.terms
    assert (text.term, text.modality, text.weight) == (0, "text", 1.0)
    assert (asset.term, asset.modality, asset.weight) == (1, "asset", -0.5)
    assert text.cosine == pytest.approx(float(north(0.0) @ north(4.0)), abs=1e-5)
    assert asset.cosine == pytest.approx(float(north(1.0) @ north(4.0)), abs=1e-5)
    assert asset.score == pytest.approx((asset.cosine - 0.2) / 0.1, abs=1e-4)
    assert hit.score == pytest.approx(text.score - 0.5 * asset.score, abs=1e-4)


@pytest.mark.parametrize("name", ["unknown", "half"])
def test_more_like_what_is_not_stored_is_refused(store: WordStore, name: str) -> None:
    store.write([], [SegmentRow("half-0", "half", IMAGE, 0, north(1.0))])
    with pytest.raises(NotFoundError, match=f"'{name}' is not stored"):
        found(store, Query([Term(asset_id=name)]))


def test_words_of_what_another_process_deleted_take_no_place(store: WordStore) -> None:
    """A word index lags behind the store, and each of its words is also in a remaining text."""
    before = SearchEngine(Alike(NORTH), store).search(PUMP)
    for name in ("gone", "lost"):
        add(store, name, TEXT, north(0.1), "error e4711 of the pump")
    stale = store.lexical("pump error E4711", 9)
    store.delete(["gone", "lost"])
    store.lexical = lambda *_, **__: stale  # type: ignore[method-assign]
    after = SearchEngine(Alike(NORTH), store).search(PUMP)
    assert [(hit.asset_id, hit.score) for hit in after.hits] == [
        (hit.asset_id, hit.score) for hit in before.hits
    ]


def test_what_is_identical_comes_first_though_a_mixed_list_may_not_hold_it() -> None:
    """A picture's highest score is 4.5 here, and the texts that fill the list all have more."""
    store = MemoryStore(DIM, BLIND_TO_PICTURES.calibration)
    for number in range(60):
        add(store, f"text{number}", TEXT, north(0.1 + number / 1000))
    add(store, "same", IMAGE, north(0.0))
    engine = SearchEngine(Alike(BLIND_TO_PICTURES), store)
    hits = engine.search(Query([Item(IMAGE, None)], limit=2)).hits
    assert [hit.asset_id for hit in hits] == ["same", "text0"]


BLIND_TO_PICTURES = Space(DIM, {}, {TEXT: Calibration(0.0, 0.1), IMAGE: Calibration(0.1, 0.2)})


def test_words_are_looked_for_before_the_query_is_encoded(store: WordStore) -> None:
    seen: list[list[str]] = []

    class Slow(Alike):
        def encode_items(self, items: Sequence[Item]) -> Embeddings:
            store.has_asked.wait(30)
            seen.append(list(store.asked))
            return super().encode_items(items)

    SearchEngine(Slow(NORTH), store).search(PUMP)
    assert seen == [["pump error E4711"]]
    assert store.asked == ["pump error E4711"]  # and not again
