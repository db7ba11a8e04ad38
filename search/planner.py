"""From a query to a plan: which kinds of segment to search, and how many of each. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from encoder.errors import InputError
from encoder.types import Modality
from search.types import Query

MAX_LIMIT = 1000
_OVER_FETCH = 4
_MIN_CANDIDATES = 32
_GROWTH = 4
# Milvus answers at most 16,384 rows to one search.
_MAX_CANDIDATES = 16_384


@dataclass(frozen=True)
class Plan:
    """What to ask of the store.

    Args:
        modalities: the kinds of segment, each searched on its own.
        candidates: how many segments of each kind; more than hits are wanted, since the
            segments of one asset make one hit.
        limit: the most hits to return.
    """

    modalities: tuple[Modality, ...]
    candidates: int
    limit: int


def plan(query: Query, known: Collection[Modality]) -> Plan:
    """Plan a query.

    Args:
        query: see `search.types.Query`.
        known: the modalities that the space has; all are searched if the query names none.

    Raises:
        InputError: no items, a limit out of range, or a modality that is not known.
    """
    if not query.items:
        raise InputError("query.items", got="none", wanted="at least one item to search with")
    _check_limit(query.limit)
    for modality in query.modalities:
        if modality not in known:
            raise InputError(
                "query.modalities", got=repr(str(modality)), wanted=", ".join(sorted(known))
            )
    candidates = max(_MIN_CANDIDATES, _OVER_FETCH * query.limit)
    return Plan(tuple(sorted(set(query.modalities or known))), candidates, query.limit)


def widened(plan: Plan) -> Plan | None:
    """A plan with more candidates, for when grouping left too few hits; None at the most."""
    candidates = min(_GROWTH * plan.candidates, _MAX_CANDIDATES)
    return replace(plan, candidates=candidates) if candidates > plan.candidates else None


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InputError("query.limit", got=repr(limit), wanted=f"a whole number, 1 to {MAX_LIMIT}")
