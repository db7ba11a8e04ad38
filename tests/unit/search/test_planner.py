from __future__ import annotations

from typing import Any

import pytest

from encoder.errors import InputError
from encoder.types import AUDIO, IMAGE, TEXT, Item, Modality
from search.query.planner import plan, widened
from search.query.query import Query, Term

KNOWN = {TEXT, IMAGE, AUDIO}
ITEM = Item(TEXT, "a cat")


def test_a_query_without_modalities_searches_all_of_them() -> None:
    assert plan(Query([ITEM]), KNOWN).modalities == (AUDIO, IMAGE, TEXT)


def test_named_modalities_are_searched_once_each() -> None:
    assert plan(Query([ITEM], [IMAGE, TEXT, IMAGE]), KNOWN).modalities == (IMAGE, TEXT)


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_more_candidates_than_hits_are_asked_for(limit: int) -> None:
    planned = plan(Query([ITEM], limit=limit), KNOWN)
    assert planned.shares[0].limit == limit
    assert 4 * limit <= planned.candidates <= 16_384


def test_widening_grows_and_ends() -> None:
    sizes = [plan(Query([ITEM], limit=1000), KNOWN).candidates]
    while (size := widened(sizes[-1])) is not None:
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 16_384


def test_what_was_shown_before_is_searched_past() -> None:
    planned = plan(Query([ITEM], lexical=False), KNOWN)
    assert planned.beyond(500).candidates == planned.candidates + 500
    assert planned.beyond(2**31).candidates == 16_384
    assert plan(Query([ITEM]), KNOWN).beyond(500).candidates == planned.candidates + 2000


def test_quotas_make_a_list_of_each_kind() -> None:
    planned = plan(Query([ITEM], quotas={IMAGE: 3, AUDIO: 5, TEXT: 0}), KNOWN)
    assert [(s.modalities, s.limit, s.pool) for s in planned.shares] == [
        ((AUDIO,), 5, 6),
        ((IMAGE,), 3, 4),
    ]
    assert planned.modalities == (AUDIO, IMAGE)


def test_unlike_hits_are_chosen_from_more() -> None:
    (share,) = plan(Query([ITEM], limit=20, diversity=0.5), KNOWN).shares
    assert share.pool == 80


def test_words_are_those_of_the_texts_that_pull() -> None:
    terms = [ITEM, Term(Item(TEXT, "a dog"), weight=-1), Item(IMAGE, None), Term(asset_id="a")]
    planned = plan(Query(terms), KNOWN)
    assert (planned.words, planned.lexical) == (("a cat",), None)
    assert plan(Query([Item(IMAGE, None)], lexical=True), KNOWN).lexical is False
    assert plan(Query([ITEM], [IMAGE]), KNOWN).lexical is False


@pytest.mark.parametrize("limit", [0, -1, 1001, True, 2.0, None])
def test_a_limit_out_of_range_is_refused(limit: Any) -> None:
    with pytest.raises(InputError, match=r"query\.limit: got .* 1 to 1000"):
        plan(Query([ITEM], limit=limit), KNOWN)


def test_a_query_without_items_is_refused() -> None:
    with pytest.raises(InputError, match=r"query\.items"):
        plan(Query([]), KNOWN)


def test_an_unknown_modality_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'smell'.*audio, image, text"):
        plan(Query([ITEM], [Modality("smell")]), KNOWN)


@pytest.mark.parametrize("weight", [0, 10.5, -11, float("nan"), float("inf")])
def test_a_weight_out_of_range_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match=r"query\.items\[1\]\.weight: got .* -10 to 10, not 0"):
        plan(Query([ITEM, Term(ITEM, weight=weight)]), KNOWN)


def test_a_term_is_an_item_or_an_asset() -> None:
    with pytest.raises(InputError, match=r"query\.items\[0\]: got neither"):
        plan(Query([Term()]), KNOWN)
    with pytest.raises(InputError, match=r"query\.items\[0\]: got both"):
        plan(Query([Term(ITEM, "a1")]), KNOWN)


def test_something_has_to_be_wanted() -> None:
    with pytest.raises(InputError, match="only negative weights"):
        plan(Query([Term(ITEM, weight=-1)]), KNOWN)


@pytest.mark.parametrize("moments", [-1, 21, True, 1.0])
def test_a_number_of_moments_out_of_range_is_refused(moments: Any) -> None:
    with pytest.raises(InputError, match=r"query\.moments: got .* 0 to 20"):
        plan(Query([ITEM], moments=moments), KNOWN)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("quotas", {IMAGE: -1}, r"quotas\['image'\]: got -1"),
        ("quotas", {IMAGE: 0}, "quotas: got 0 hits in all"),
        ("quotas", {IMAGE: 600, TEXT: 600}, "quotas: got 1200 hits in all"),
        ("quotas", {Modality("smell"): 1}, "quotas: got 'smell'"),
        ("diversity", 1.5, "diversity: got 1.5"),
        ("diversity", float("nan"), "diversity: got nan"),
        ("score_threshold", float("inf"), "score_threshold: got inf"),
        ("group_by", "film", "group_by: got 'film'.*'asset' or 'segment'"),
        ("mix", "both", "mix: got 'both'.*'turns' or 'score'"),
        ("consistency", "eventual", "consistency: got 'eventual'"),
    ],
)
def test_a_field_out_of_range_is_refused(field: str, value: Any, wanted: str) -> None:
    with pytest.raises(InputError, match=rf"query\.{wanted}"):
        plan(Query([ITEM], **{field: value}), KNOWN)


def test_a_quota_for_an_excluded_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"query\.quotas: got 'image'"):
        plan(Query([ITEM], [TEXT], quotas={IMAGE: 1}), KNOWN)
