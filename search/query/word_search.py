"""Look up a query's words while its vectors are still being computed."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor, Future

from search.filters import Filter
from search.query.planner import QueryPlan
from search.store.base import VectorStore
from search.types import ScoredSegment

WordHits = Future[list[ScoredSegment]]


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
        self._ahead = self._submit(plan.candidates, None)
        self._ahead_n = plan.candidates

    def look(self, n: int, asset_ids: Collection[str] | None = None) -> WordHits | None:
        """The best ``n`` segments, of these assets if any are named; None if no words are wanted.

        The early look-up is used once; later calls look up again.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and asset_ids is None and n == self._ahead_n:
            return ahead
        return self._submit(n, asset_ids)

    def _submit(self, n: int, asset_ids: Collection[str] | None) -> WordHits | None:
        if not self.text:
            return None
        filter = self._filter if asset_ids is None else None
        return self._executor.submit(
            self._lexical, self.text, n, asset_ids=asset_ids, filter=filter
        )
