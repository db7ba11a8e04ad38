from __future__ import annotations

from typing import Any

import pytest

from encoder.errors import InputError
from encoder.types import AUDIO, IMAGE, TEXT, Item, Modality
from search.planner import plan, widened
from search.types import Query, Term

KNOWN = {TEXT, IMAGE, AUDIO}
ITEM = Item(TEXT, "a cat")


def test_a_query_without_modalities_searches_all_of_them() -> None:
    assert plan(Query([ITEM]), KNOWN).modalities == (AUDIO, IMAGE, TEXT)


def test_named_modalities_are_searched_once_each() -> None:
    assert plan(Query([ITEM], [IMAGE, TEXT, IMAGE]), KNOWN).modalities == (IMAGE, TEXT)


@pytest.mark.parametrize("limit", [1, 10, 1000])
def test_more_candidates_than_hits_are_asked_for(limit: int) -> None:
    planned = plan(Query([ITEM], limit=limit), KNOWN)
    assert planned.limit == limit
    assert 4 * limit <= planned.candidates <= 16_384


def test_widening_grows_and_ends() -> None:
    planned = plan(Query([ITEM], limit=1000), KNOWN)
    sizes = []
    step: Any = planned
    while step := widened(step):
        sizes.append(step.candidates)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 16_384


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
