"""Counts each search: histograms, Prometheus, and a log line for a slow one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

from search.api.responses.plain_values import latency_ms
from search.api.services import Services
from search.latency import TOTAL
from search.query.query import Term

logger = logging.getLogger("anymodal.slow")


def track(
    services: Services,
    request_id: str,
    terms: Sequence[Term],
    latency_s: Mapping[str, float],
    kind: str = "",
) -> None:
    """Count a search that was answered. What was searched for is not logged: it is private.

    By default, ``kind`` is the result of `kind_of`.
    """
    kind = kind or kind_of(terms)
    services.latency.record(latency_s, kind)
    services.metrics.searched(latency_s, kind)
    if latency_s[TOTAL] * 1000 > services.config.slow_query_ms:
        facts = {"request_id": request_id, "query": kind, "terms": len(terms)}
        logger.warning("%s", json.dumps({**facts, "latency_ms": latency_ms(latency_s)}))


def kind_of(terms: Sequence[Term]) -> str:
    """The terms' modality, or ``asset`` for stored assets; ``mixed`` for several kinds."""
    kinds = {str(term.item.modality) if term.item else "asset" for term in terms}
    return kinds.pop() if len(kinds) == 1 else "mixed"
