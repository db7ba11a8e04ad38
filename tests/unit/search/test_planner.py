"""What a query asks for, page by page, and how long it may take."""

from __future__ import annotations

import math
from contextvars import copy_context
from dataclasses import replace
from threading import Thread
from time import thread_time
from typing import Any

import numpy as np
import pytest

from encoder.errors import InputError
from encoder.space import l2_normalize
from encoder.system.metering import running
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item, Modality
from search.deadline import Budget, Deadline
from search.errors import CancelledError, TimeLimitError, TooCostlyError
from search.filters import parse_filter
from search.query.pages import MAX_SHOWN, Reached, read_page
from search.query.planner import plan
from search.query.query import Query, Term

KNOWN = {TEXT, IMAGE, AUDIO}
ITEM = Item(TEXT, "a cat")


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


QUERY = Query([Item(TEXT, "a cat")])


def direction(seed: int = 0) -> Embeddings:
    return l2_normalize(np.random.default_rng(seed).normal(size=(1, 384)))[0]


def after(*keys: str, query: Query = QUERY) -> Query:
    return replace(query, cursor=read_page(query, direction()).cursor(keys, Reached(len(keys))))


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
    assert len(page.cursor(keys, Reached(0))) < 100_000
    assert page.cursor([*keys, "one more"], Reached(0)) == ""


def test_time_runs_out() -> None:
    now = [100.0]
    deadline = Deadline(2, clock=lambda: now[0])
    deadline.check()
    now[0] = 101.5
    assert deadline.left_s() == 0.5
    deadline.check()
    now[0] = 103.0
    assert deadline.left_s() == 0
    with pytest.raises(TimeLimitError, match=r"longer than 2 s\. Allow more time"):
        deadline.check()


def test_without_a_limit_only_cancelling_ends_it() -> None:
    deadline = Deadline()
    assert deadline.left_s() is None
    deadline.check()
    deadline.cancel()
    with pytest.raises(CancelledError):
        deadline.check()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="deadline"):
        Deadline(seconds)


def test_a_request_ends_when_it_took_too_much_processor_time() -> None:
    budget = Budget(60, cpu_s=0.02)
    with budget.counted():
        budget.check()
        ends_s = thread_time() + 0.03
        while thread_time() < ends_s:
            pass
        with pytest.raises(TooCostlyError, match=r"0\.02 s of processor time"):
            budget.check()


def test_networks_that_run_for_a_request_are_counted_in_whichever_thread() -> None:
    budget = Budget(60, cpu_s=0.02)

    def run() -> None:
        with running(n_threads=4):
            ends_s = thread_time() + 0.01
            while thread_time() < ends_s:
                pass

    with budget.counted():
        network = Thread(target=copy_context().run, args=[run])
        network.start()
        network.join()
        with pytest.raises(TooCostlyError):
            budget.check()


@pytest.mark.parametrize(
    "after", [Reached(0, math.nan), Reached(0, 1.0, math.nan), Reached(0, 1.0, 7.0)]
)
def test_a_cursor_of_no_list_is_refused(after: Reached) -> None:
    query = Query([Item(TEXT, "a")])
    forged = replace(query, cursor=read_page(query, direction()).cursor(["a"], after))
    with pytest.raises(InputError, match="not a cursor"):
        read_page(forged, direction())
