from __future__ import annotations

from typing import Any

import pytest

from encoder.errors import InputError
from encoder.types import AUDIO, IMAGE, TEXT, Item, Modality
from search.query.planner import plan, widened
from search.query.query import Query, Term

KNOWN = {TEXT, IMAGE, AUDIO}
ITEM = Item(TEXT, "a cat")


def test_named_modalities_are_searched_once_each() -> None:
    assert plan(Query([ITEM], [IMAGE, TEXT, IMAGE]), KNOWN).modalities == (IMAGE, TEXT)


def test_widening_grows_and_ends() -> None:
    sizes = [plan(Query([ITEM], limit=1000), KNOWN).candidates]
    while (size := widened(sizes[-1])) is not None:
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == 16_384


def test_what_was_shown_before_is_searched_past() -> None:
    planned = plan(Query([ITEM]), KNOWN)
    assert planned.beyond(500).candidates == planned.candidates + 500
    assert planned.beyond(2**31).candidates == 16_384


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


@pytest.mark.parametrize(
    ("text", "media_types"),
    [
        ("Foto vom See", ["image/"]),
        ("九月的录音", ["audio/"]),
        ("train ticket", []),
        ("10 minutes on the table", []),
    ],
)
def test_words_name_kinds_of_file(text: str, media_types: list[str]) -> None:
    assert list(plan(Query([Item(TEXT, text)]), KNOWN).media_types) == media_types


def test_all_kinds_that_are_named_count() -> None:
    named = plan(Query([Item(TEXT, "photo of an invoice")]), KNOWN).media_types
    assert {"image/", "application/pdf"} <= set(named)


NAN = float("nan")
SMELL = Modality("smell")


@pytest.mark.parametrize(
    ("items", "fields", "wanted"),
    [
        ([], {}, "items"),
        ([Term()], {}, r"items\[0\]: got neither"),
        ([Term(ITEM, "a1")], {}, r"items\[0\]: got both"),
        ([Term(ITEM, weight=-1)], {}, "items: got only negative weights"),
        *(
            ([ITEM, Term(ITEM, weight=weight)], {}, r"items\[1\]\.weight: got .* -10 to 10, not 0")
            for weight in (0, 10.5, -11, NAN, float("inf"))
        ),
        *(
            ([ITEM], {"limit": limit}, "limit: got .* 1 to 1000")
            for limit in (0, -1, 1001, True, 2.0, None)
        ),
        *(
            ([ITEM], {"moments": moments}, "moments: got .* 0 to 20")
            for moments in (-1, 21, True, 1.0)
        ),
        ([ITEM], {"modalities": [SMELL]}, "modalities: got 'smell'.*audio, image, text"),
        ([ITEM], {"quotas": {IMAGE: -1}}, r"quotas\['image'\]: got -1"),
        ([ITEM], {"quotas": {IMAGE: 0}}, "quotas: got 0 hits in all"),
        ([ITEM], {"quotas": {IMAGE: 600, TEXT: 600}}, "quotas: got 1200 hits in all"),
        ([ITEM], {"quotas": {SMELL: 1}}, "quotas: got 'smell'"),
        ([ITEM], {"quotas": {IMAGE: 1}, "modalities": [TEXT]}, "quotas: got 'image'"),
        ([ITEM], {"diversity": 1.5}, "diversity: got 1.5"),
        ([ITEM], {"diversity": NAN}, "diversity: got nan"),
        ([ITEM], {"score_threshold": float("inf")}, "score_threshold: got inf"),
        ([ITEM], {"group_by": "film"}, "group_by: got 'film'.*'asset' or 'segment'"),
        ([ITEM], {"consistency": "eventual"}, "consistency: got 'eventual'"),
    ],
)
def test_a_field_out_of_range_is_refused(
    items: list[Item | Term], fields: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(InputError, match=rf"query\.{wanted}"):
        plan(Query(items, **fields), KNOWN)
