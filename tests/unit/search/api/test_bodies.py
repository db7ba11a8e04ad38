"""Large bodies are parsed one after the other."""

from __future__ import annotations

import pytest

from encoder.system.stopping import stopped_by
from search.api.requests.bodies import SentBody, _large_body
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
