"""Which searches share a thread: those that nobody has to wait for."""

from typing import Any

import pytest

from search.api.requests.queries import is_short
from search.api.schemas import SearchRequest


@pytest.mark.parametrize(
    "body",
    [
        {"query": "a red boat"},
        {"query": [{"text": "beach"}, {"text": "people", "weight": -0.5}]},
        {"query": "x" * 1000, "limit": 100, "moments": 20, "group_by": "segment"},
        {"query": "rain", "modalities": ["image"], "lexical": False, "score_threshold": 0.5},
    ],
)
def test_texts_alone_are_short(body: dict[str, Any]) -> None:
    assert is_short(SearchRequest.model_validate(body))


@pytest.mark.parametrize(
    "more",
    [
        {"query": [{"text": "rain"}, {"image": "AAAA"}]},
        {"query": [{"text": "rain"}, {"asset_id": "a"}]},
        {"query": [{"text": "x" * 501}, {"text": "y" * 500}]},
        {"limit": 101},
        {"filter": {"tags": "sea"}},
        {"quotas": {"image": 5}},
        {"diversity": 0.1},
        {"explain": True},
        {"consistency": "strong"},
    ],
)
def test_what_others_would_wait_for_has_its_own_thread(more: dict[str, Any]) -> None:
    assert not is_short(SearchRequest.model_validate({"query": "rain", **more}))
