"""Search texts by words, among the assets for which a filter holds."""

from __future__ import annotations

from collections.abc import Collection as Ids

from search.filters import Filter
from search.lexical.index import MAX_FOUND
from search.store.milvus.reading.assets import MilvusAssets
from search.store.milvus.reading.search import MilvusSearch
from search.store.milvus.words import Words
from search.types import ScoredSegment

_MAX_JOINED = 2000  # the most assets whose texts are searched by their ids


class MilvusTexts:
    """Finds texts by their words. Safe to use from threads.

    Args:
        words: of texts.
        search: of segments.
        assets: of commit rows.
    """

    def __init__(self, words: Words, search: MilvusSearch, assets: MilvusAssets) -> None:
        self._words = words
        self._search = search
        self._assets = assets

    def find(
        self,
        text: str,
        limit: int,
        asset_ids: Ids[str] | None,
        filter: Filter | None,
        expression: str,
    ) -> list[ScoredSegment]:
        """See `MilvusStore.lexical`; ``expression`` finds the segments of the filter's assets."""
        if filter is None:
            return self._words.find(text, limit, asset_ids)
        found = every = self._words.find(text, MAX_FOUND, asset_ids)
        if expression:
            found = self._search.those_of(expression, every)
        is_enough = expression and (len(found) >= limit or len(every) < MAX_FOUND)
        if is_enough or asset_ids is not None or self._assets.count(filter) > _MAX_JOINED:
            return found[:limit]
        return self._words.find(text, limit, list(self._assets.select(filter, None, "")))
