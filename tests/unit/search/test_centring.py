"""What a text has in common with all texts in its language does not count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from encoder.space import Calibration, Centring, Space, l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Item
from search import Query, SearchEngine, Term
from search.ranking.fusion import doubted
from search.store.memory import MemoryStore
from search.types import ScoredSegment
from tests.unit.search.test_engine import DIM, DirectionEncoder, add, axis

LANGUAGES = {"en": axis(0) + axis(6), "zh": axis(1) + axis(6)}
MEANS = 0.9 * l2_normalize(np.stack(list(LANGUAGES.values())))
CENTRED = {TEXT: Calibration(0.6, 0.05, share=0.8), IMAGE: Calibration(0.0, 0.1)}


def text(language: str, *meaning: int) -> Embeddings:
    return l2_normalize((2 * LANGUAGES[language] + axis(*meaning))[None])[0]


class LanguageEncoder(DirectionEncoder):
    def __init__(self) -> None:
        super().__init__()
        centre = MEANS.mean(axis=0)
        deviations = MEANS - centre
        weights = np.linalg.pinv(deviations).T.astype(np.float32)
        centring = Centring(deviations, weights, centre / 0.6)
        self.space = Space(DIM, {}, CENTRED, centring=centring)


@pytest.fixture
def store() -> MemoryStore:
    """An answer in another language, beside texts and a picture."""
    store = MemoryStore(DIM, CENTRED)
    add(store, "answer", TEXT, text("en", 2))
    for meaning in (3, 4, 5):
        add(store, f"chatter{meaning}", TEXT, text("zh", meaning))
    add(store, "picture", IMAGE, l2_normalize((axis(2) + 2 * axis(7))[None])[0])
    return store


def found(store: MemoryStore, *items: Item | Term) -> list[str]:
    engine = SearchEngine(LanguageEncoder(), store)
    return [hit.asset_id for hit in engine.search(Query(items, limit=9)).hits]


def test_an_answer_in_another_language_is_found_before_chatter_in_ones_own(
    store: MemoryStore,
) -> None:
    assert found(store, Item(TEXT, text("zh", 2)))[0] == "answer"
    measured_before = {**CENTRED, TEXT: Calibration(0.7, 0.05)}
    store.recalibrate(measured_before, {"source": "measured"})
    assert found(store, Item(TEXT, text("zh", 2)))[-1] == "answer"


def test_a_store_with_what_the_model_shipped_before_is_read_by_what_it_ships_now() -> None:
    store = MemoryStore(DIM, {TEXT: Calibration(0.7, 0.05)})
    add(store, "answer", TEXT, text("en", 2))
    add(store, "chatter", TEXT, text("zh", 3))
    assert found(store, Item(TEXT, text("zh", 2))) == ["answer", "chatter"]


def test_the_same_text_is_first_and_a_picture_is_compared_as_it_is(store: MemoryStore) -> None:
    for name in ("copy", "again"):
        add(store, name, TEXT, text("zh", 2))
    add(store, "other-picture", IMAGE, l2_normalize((axis(2) + 2 * axis(7))[None])[0])
    assert found(store, Item(TEXT, text("zh", 2)))[:2] == ["again", "copy"]
    assert found(store, Term(asset_id="copy"))[0] == "again"
    assert found(store, Term(asset_id="picture"))[0] == "other-picture"


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.5], [1.0, 0.5, -0.3]])
def test_scores_are_what_the_terms_explain(store: MemoryStore, weights: list[float]) -> None:
    contents = [text("zh", 2), text("en", 3), text("zh", 4)]
    terms = [
        Term(Item(TEXT, content), weight=weight)
        for content, weight in zip(contents, weights, strict=False)
    ]
    engine = SearchEngine(LanguageEncoder(), store)
    hits = engine.search(Query(terms, explain=True)).hits
    assert len(hits) == 5
    rows = {hit.asset_id: store.embeddings(hit.asset_id)[0].embedding for hit in hits}
    space = engine.space()
    pulled = sum(w * c for w, c in zip(weights, contents, strict=False) if w > 0)
    pulled /= np.linalg.norm(pulled)
    pushed = {n: w for n, w in enumerate(weights) if w < 0}
    for hit in hits:
        explained, row = hit.explanation, rows[hit.asset_id]
        assert explained is not None
        of_terms = [term.score for term in explained.terms]
        positive = sum(weight for weight in weights if weight > 0)
        asked, level = space.asked(pulled)
        by = space.calibration_of(hit.modality)
        expected = by.apply(float(asked @ row), float(level)) + sum(
            weight / positive * of_terms[n] for n, weight in pushed.items()
        )
        assert explained.dense_score == pytest.approx(expected, abs=1e-4)
        assert explained.terms[0].cosine == pytest.approx(float(contents[0] @ row), abs=1e-6)


def test_constants_without_a_share_leave_everything_as_it_was(store: MemoryStore) -> None:
    plain = {kind: replace(by, share=0.0) for kind, by in CENTRED.items()}
    store.recalibrate(plain, {"source": "measured"})
    engine = SearchEngine(LanguageEncoder(), store)
    (hit, *_) = engine.search(Query([Item(TEXT, text("zh", 2))], explain=True)).hits
    assert hit.explanation is not None
    (term,) = hit.explanation.terms
    assert hit.explanation.cosine == pytest.approx(term.cosine)
    assert hit.explanation.dense_score == pytest.approx(term.score, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "doubt"),
    [
        ("12:30 OK", 1.0),
        ("北京站", 31 / 40),
        ("forty letters or more say at least something", 0.0),
    ],
)
@pytest.mark.parametrize("where", [{"boxes": "[[0]]"}, {"start_s": 1.0}, {}])
def test_a_line_that_says_next_to_nothing_is_doubted_where_it_was_recognised(
    line: str, doubt: float, where: dict[str, Any]
) -> None:
    if not where:
        doubt = float(line == "12:30 OK") * 0.25  # few of its signs are letters of words
    segment = ScoredSegment("s", "a", TEXT, 0.5, snippet=line, confidence=0.5, **where)
    lowered = 4.0 - 3.0 * doubt
    assert doubted(4.0, segment) == pytest.approx(0.5 * lowered, abs=0.3)
    assert doubted(-1.0, segment) == pytest.approx(-1.0 - 3.0 * doubt, abs=0.5)
