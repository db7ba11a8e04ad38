from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.types import IMAGE, TEXT, Embeddings, Item
from search.filters import parse_filter
from search.query.pages import MAX_SHOWN, read_page
from search.query.query import Query, Term

QUERY = Query([Item(TEXT, "a cat")])


def direction(seed: int = 0) -> Embeddings:
    return l2_normalize(np.random.default_rng(seed).normal(size=(1, 384)))[0]


def after(*keys: str, query: Query = QUERY) -> Query:
    return replace(query, cursor=read_page(query, direction()).cursor(keys, len(keys)))


def test_a_cursor_remembers_all_pages_before() -> None:
    second = after("a", "b")
    third = after("c", query=second)
    page = read_page(third, direction())
    assert [page.has_shown(key) for key in "abcd"] == [True, True, True, False]
    assert len(third.cursor) == len(second.cursor) + 8


def test_a_cursor_says_how_far_the_pages_before_went() -> None:
    page = read_page(
        replace(QUERY, cursor=read_page(QUERY, direction()).cursor("a", 700)), direction()
    )
    assert page.depth == 700
    later = replace(QUERY, cursor=page.cursor("b", 3))
    assert read_page(later, direction()).depth == 700


def test_what_is_shown_may_change_from_page_to_page() -> None:
    other = replace(after("a"), limit=50, moments=0, explain=True, consistency="strong")
    assert read_page(other, direction()).has_shown("a")


@pytest.mark.parametrize(
    "change",
    [
        {"items": [Item(TEXT, "a cat"), Term(asset_id="x")]},
        {"items": [Term(Item(TEXT, "a cat"), weight=2)]},
        {"modalities": [IMAGE]},
        {"filter": parse_filter({"field": "language", "eq": "en"})},
        {"quotas": {IMAGE: 1}},
        {"score_threshold": 1.0},
        {"group_by": "segment"},
        {"diversity": 0.1},
        {"lexical": False},
    ],
)
def test_what_changes_the_ranking_may_not_change(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"query\.cursor: got .* belongs to another query"):
        read_page(replace(after("a"), **change), direction())  # type: ignore[arg-type]


def test_a_cursor_does_not_fit_another_content() -> None:
    with pytest.raises(InputError, match="another query"):
        read_page(after("a"), direction(1))


def test_a_content_encoded_in_another_batch_is_the_same() -> None:
    moved = direction() + np.random.default_rng(2).normal(size=384) * 1e-6
    assert read_page(after("a"), moved.astype(np.float32)).has_shown("a")


def test_pages_end() -> None:
    keys = [str(number) for number in range(MAX_SHOWN)]
    page = read_page(QUERY, direction())
    assert len(page.cursor(keys, 0)) < 100_000
    assert page.cursor([*keys, "one more"], 0) == ""
