"""The language of filters, and the errors of wrong ones."""

from __future__ import annotations

import pytest

from encoder.errors import InputError
from search.filters import And, Compare, Filter, Not, Operator, Or, parse_filter

ONE = {"field": "title", "eq": "x"}
EQ = Compare("title", Operator.EQ, "x")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (ONE, EQ),
        ({"and": [ONE]}, And((EQ,))),
        ({"or": [ONE, ONE]}, Or((EQ, EQ))),
        ({"not": ONE}, Not(EQ)),
        (
            {"field": "width", "gte": 1, "lt": 2.5},
            And((Compare("width", Operator.GTE, 1), Compare("width", Operator.LT, 2.5))),
        ),
        ({"field": "modified", "gt": "1970-01-02"}, Compare("modified", Operator.GT, 86400.0)),
        (
            {"field": "modified", "gt": "1970-01-01T01:00:00+01:00"},
            Compare("modified", Operator.GT, 0.0),
        ),
        ({"field": "modified", "in": [5]}, Compare("modified", Operator.IN, (5,))),
    ],
)
def test_json_becomes_a_tree(data: object, wanted: Filter) -> None:
    assert parse_filter(data) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "filter: got an empty list. Expected an object"),
        ({}, "filter: got the keys"),
        ({"and": []}, r"filter.and: got an empty list"),
        ({"and": [ONE], "or": [ONE]}, "filter: got the keys and, or"),
        ({"not": [ONE]}, r"filter.not: got a list"),
        ({"or": [ONE, {"field": "titel", "eq": "x"}]}, r"filter.or\[1\].field: got 'titel'.*title"),
        ({"field": "title"}, "filter: got the keys field"),
        ({"field": "title", "like": "x"}, "filter: got the operator 'like'. Expected eq, ne"),
        ({"field": "title", "eq": 5}, "filter.eq: got 5. Expected a string"),
        ({"field": "title", "eq": None}, "filter.eq: got None"),
        ({"field": "title", "eq": ["x"]}, "filter.eq: got .*Expected one value"),
        ({"field": "title", "in": "x"}, "filter.in: got 'x'. Expected a list"),
        ({"field": "title", "in": []}, "filter.in: got"),
        ({"field": "title", "exists": 1}, "filter.exists: got 1. Expected true or false"),
        ({"field": "title", "eq": "x" * 5000}, "filter.eq"),
        ({"field": "title", "eq": "\ud800"}, "filter.eq"),
        ({"field": "width", "eq": True}, "filter.eq: got True. Expected a number"),
        ({"field": "width", "eq": 2**60}, "2\\*\\*53"),
        ({"field": "width", "eq": float("nan")}, "filter.eq: got nan"),
        ({"field": "width", "prefix": "1"}, "filter.width: got the operator prefix"),
        ({"field": "tags", "eq": "x"}, "filter.tags: got the operator eq. Expected contains"),
        ({"field": "modified", "gt": "yesterday"}, "filter.gt: got 'yesterday'. Expected an ISO"),
        ({"field": "metadata.x", "prefix": 5}, "filter.prefix: got 5. Expected a string"),
        ({"field": "metadata.x", "gt": True}, "filter.gt: got True"),
        ({"field": "metadata.x", "eq": {"y": 1}}, "filter.eq"),
        ({"field": 'metadata.x"] || true', "eq": 1}, "filter.field"),
        ({"field": "metadata.", "eq": 1}, "filter.field"),
        ({"field": "metadata.x\n", "eq": 1}, "filter.field"),
        ({"field": "metadata" + ".x" * 9, "eq": 1}, "filter.field"),
        ({"or": [ONE] * 257}, "256 conditions at most"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_filter(data)


def test_a_deep_nesting_is_refused() -> None:
    data: object = ONE
    for _ in range(1000):
        data = {"not": data}
    with pytest.raises(InputError, match="16 levels"):
        parse_filter(data)
