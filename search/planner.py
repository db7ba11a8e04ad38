"""From a query to a plan: which kinds of segment to search, and how many of each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from encoder.errors import InputError
from encoder.types import Modality
from search.types import Query, Term

MAX_LIMIT = 1000
MAX_MOMENTS = 20
MAX_WEIGHT = 10.0
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
        moments: how many further segments of its asset come with each hit.
    """

    modalities: tuple[Modality, ...]
    candidates: int
    limit: int
    moments: int


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
    _check_terms(query.terms)
    _check_limit(query.limit)
    _check_moments(query.moments)
    _refuse_unfinished(query)
    for modality in query.modalities:
        if modality not in known:
            raise InputError(
                "query.modalities", got=repr(str(modality)), wanted=", ".join(sorted(known))
            )
    candidates = max(_MIN_CANDIDATES, _OVER_FETCH * query.limit)
    wanted = tuple(sorted(set(query.modalities or known)))
    return Plan(wanted, candidates, query.limit, query.moments)


def widened(plan: Plan) -> Plan | None:
    """A plan with more candidates, for when grouping left too few hits; None at the most."""
    candidates = min(_GROWTH * plan.candidates, _MAX_CANDIDATES)
    return replace(plan, candidates=candidates) if candidates > plan.candidates else None


def _check_limit(limit: int) -> None:
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InputError("query.limit", got=repr(limit), wanted=f"a whole number, 1 to {MAX_LIMIT}")


def _check_terms(terms: Sequence[Term]) -> None:
    for place, term in enumerate(terms):
        where = f"query.items[{place}]"
        if (term.item is None) == (term.asset_id == ""):
            got = "neither" if term.item is None else "both"
            raise InputError(where, got=got, wanted="an item or an asset_id")
        if not 0 < abs(term.weight) <= MAX_WEIGHT:  # also refuses NaN
            raise InputError(
                f"{where}.weight",
                got=repr(term.weight),
                wanted=f"a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, not 0",
            )
    if all(term.weight < 0 for term in terms):
        raise InputError(
            "query.items", got="only negative weights", wanted="at least one that is positive"
        )


def _check_moments(moments: int) -> None:
    if isinstance(moments, bool) or not isinstance(moments, int) or not 0 <= moments <= MAX_MOMENTS:
        wanted = f"a whole number, 0 to {MAX_MOMENTS}"
        raise InputError("query.moments", got=repr(moments), wanted=wanted)


def _refuse_unfinished(query: Query) -> None:
    plain = Query(query.items)
    for name in ("filter", "quotas", "score_threshold", "group_by", "diversity", "consistency"):
        _refuse_unless_default(query, plain, name)
    for name in ("lexical", "cursor", "explain"):
        _refuse_unless_default(query, plain, name)
    if any(term.asset_id for term in query.terms):
        raise InputError("query.items", got="an asset_id", wanted="items; ids come later")


def _refuse_unless_default(query: Query, plain: Query, name: str) -> None:
    default, got = getattr(plain, name), getattr(query, name)
    if got != default:
        raise InputError(
            f"query.{name}", got=repr(got), wanted=f"{default!r}; it cannot do more yet"
        )
