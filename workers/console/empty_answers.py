"""What a search without hits covered, so that a typo is not taken for an empty answer."""

from __future__ import annotations

from typing import Any

from search.store.base import VectorStore
from search.types import Query


def searched(uri: str | None, store: VectorStore, query: Query) -> dict[str, Any]:
    """What this query covered in the store at ``uri``, as plain values.

    ``matching_assets`` is the most that the filter may match; None without a filter.
    """
    from search.store.milvus.link import without_password
    from search.store.open import store_target

    return {
        "store": without_password(str(uri if uri == "memory:" else store_target(uri))),
        "assets": store.count(),
        "matching_assets": None if query.filter is None else store.count(query.filter),
        "modalities": [str(kind) for kind in query.modalities or query.quotas],
        "score_threshold": query.score_threshold,
    }
