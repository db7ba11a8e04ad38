"""What a search without hits looked through, so that nobody takes a typo for an empty answer."""

from __future__ import annotations

from typing import Any

from search.store.base import VectorStore
from search.types import Query


def searched(store: VectorStore, query: Query) -> dict[str, Any]:
    """What this query looked through in the store of the settings, as plain values.

    ``matching_assets`` is how many the filter lets through, at most; None without a filter.
    """
    from search.store.milvus.link import without_password
    from search.store.open import store_target
    from workers.config import Settings

    uri = Settings().store
    return {
        "store": without_password(str(uri if uri == "memory:" else store_target(uri))),
        "assets": store.count(),
        "matching_assets": None if query.filter is None else store.count(query.filter),
        "modalities": [str(kind) for kind in query.modalities or query.quotas],
        "score_threshold": query.score_threshold,
    }
