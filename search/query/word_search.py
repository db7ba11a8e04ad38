"""Look up a query's words while its vectors are still being computed."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor, Future

from search.filters import Filter
from search.query.planner import QueryPlan
from search.store.base import VectorStore
from search.types import ScoredSegment

_N_BEST = 100
"""How many segments gain by their words, on every page alike: those with the highest BM25."""


class WordSearch:
    """The words of one query.

    Args:
        store: what is searched.
        plan: the query's.
        executor: runs the look-ups.
        filter: the query's.
    """

    def __init__(
        self,
        store: VectorStore,
        plan: QueryPlan,
        executor: Executor,
        filter: Filter | None = None,
    ) -> None:
        self._lexical = store.lexical
        self._filter = filter
        self._executor = executor
        self.text = "" if plan.lexical is False else " ".join(plan.words)
        # The words are known while the query is still being encoded.
        self._in_all = self._submit(None)

    def look(self, asset_ids: Collection[str] | None = None) -> Future[list[ScoredSegment]] | None:
        """The best segments, of these assets if any are named; None if no words are wanted."""
        return self._in_all if asset_ids is None else self._submit(asset_ids)

    def _submit(self, asset_ids: Collection[str] | None) -> Future[list[ScoredSegment]] | None:
        if not self.text:
            return None
        filter = self._filter if asset_ids is None else None
        return self._executor.submit(
            self._lexical, self.text, _N_BEST, asset_ids=asset_ids, filter=filter
        )
