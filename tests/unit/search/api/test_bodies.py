"""Large bodies are counted in pieces, and parsed one after the other."""

from __future__ import annotations

import json

import pytest

from encoder.system.stopping import stopped_by
from search.api.errors import TooLargeError
from search.api.requests.bodies import SentBody, _large_body
from search.api.requests.budgets import check_values
from search.api.schemas import SearchRequest
from search.errors import CancelledError


def left() -> None:
    raise CancelledError("gone")


def test_who_has_left_waits_for_no_turn_and_takes_none() -> None:
    body = SentBody([b" " * 30_000, b'{"query": "a"}'], "application/json", 1)
    with _large_body, stopped_by(left), pytest.raises(CancelledError):
        body.parsed(SearchRequest)
    with stopped_by(left), pytest.raises(CancelledError):
        body.parsed(SearchRequest)
    assert body.parsed(SearchRequest).query[0].text == "a"


BODY = json.dumps([{"a\\": ['"', "\\\\", '\\"[,', [1, 2], {}], "b": "[{,"}] * 3).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("most", "most_containers"), [(20, 13), (19, 13), (20, 12)])
def test_values_are_those_of_the_whole(size: int, most: int, most_containers: int) -> None:
    pieces = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    if (most, most_containers) == (20, 13):
        check_values(pieces, most, most_containers)
        return
    with pytest.raises(TooLargeError, match="more than"):
        check_values(pieces, most, most_containers)
