"""Plan a query: which kinds of segment to search, and how many of each. Pure."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from encoder.errors import InputError
from encoder.types import QUERY, TEXT, Modality
from search.lexical.analysis import words
from search.query.query import Query, Term
from search.query.sorting import check_sort

MAX_LIMIT = 1000
MAX_MOMENTS = 20
MAX_WEIGHT = 10.0
# Milvus answers at most 16,384 rows to one search.
MAX_CANDIDATES = 16_384

_OVER_FETCH = 4
_MIN_CANDIDATES = 32
_GROWTH = 4
_MIN_POOL = 50
_MAX_POOL = 400


@dataclass(frozen=True)
class Share:
    """A part of the hits with its own ranking: all of them, or one modality.

    Args:
        modalities: the kinds of segment.
        limit: the most hits to return.
        pool: how many to choose them from; more than ``limit``, to know if there is a next page.
    """

    modalities: tuple[Modality, ...]
    limit: int
    pool: int


@dataclass(frozen=True)
class QueryPlan:
    """What to request from the store.

    Args:
        shares: one mixed list, or one for each quota.
        candidates: how many segments of each kind at first; more than the wanted hits, since all
            segments of an asset make one hit.
        words: the texts of the terms that pull; what BM25 looks for, and snippets show.
        lexical: whether to look for words, which only texts have; None: if the store can.
        media_types: what the media types of the kinds of file that the words name begin with.
    """

    shares: tuple[Share, ...]
    candidates: int
    words: tuple[str, ...]
    lexical: bool | None
    media_types: tuple[str, ...] = ()

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """All kinds of segment to search."""
        return tuple(sorted({modality for share in self.shares for modality in share.modalities}))

    def only(self, modalities: Collection[Modality]) -> QueryPlan:
        """The same plan without other modalities."""
        shares = tuple(
            replace(share, modalities=within)
            for share in self.shares
            if (within := tuple(m for m in share.modalities if m in modalities))
        )
        return replace(self, shares=shares)

    def pooling(self, n: int) -> QueryPlan:
        """The same plan with so many hits to choose from in each share."""
        shares = tuple(replace(share, pool=n) for share in self.shares)
        candidates = _bounded(max(self.candidates, _OVER_FETCH * n))
        return replace(self, shares=shares, candidates=candidates)

    def beyond(self, depth: int) -> QueryPlan:
        """The same plan after pages that ended at this rank."""
        return replace(self, candidates=_bounded(self.candidates + depth))


def plan(query: Query, supported: Collection[Modality]) -> QueryPlan:
    """Plan a query."""
    check(query, supported)
    if query.quotas:
        quotas = sorted((modality, n) for modality, n in query.quotas.items() if n)
        shares = tuple(_share((modality,), n, query.diversity) for modality, n in quotas)
    else:
        modalities = tuple(sorted(set(query.modalities or supported)))
        shares = (_share(modalities, query.limit, query.diversity),)
    largest_pool = max(share.pool for share in shares)
    texts = tuple(
        str(term.item.content)
        for term in query.terms
        if term.item and term.item.modality == TEXT and term.weight > 0 and term.role == QUERY
    )
    has_texts = any(TEXT in share.modalities for share in shares)
    lexical = query.lexical if texts and has_texts else False
    return QueryPlan(
        shares, _bounded(_OVER_FETCH * largest_pool), texts, lexical, _named_kinds(texts)
    )


def _named_kinds(texts: Sequence[str]) -> tuple[str, ...]:
    """What the media types of the kinds of file that texts name begin with.

    >>> _named_kinds(["Foto vom See"]), _named_kinds(["the lake"])
    (('image/',), ())
    """
    spoken = {word for text in texts for word in words(text)}
    type_prefixes = (media_types for name, media_types in _kind_words() if name <= spoken)
    return tuple(
        dict.fromkeys(media_type for media_types in type_prefixes for media_type in media_types)
    )


@cache
def _kind_words() -> list[tuple[frozenset[str], tuple[str, ...]]]:
    return [(frozenset(words(name)), media_types) for name, media_types in kind_words().items()]


@cache
def kind_words() -> dict[str, tuple[str, ...]]:
    """By a word for a kind of file, what the media types of this kind begin with."""
    with Path(__file__).with_name("kind_words.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader((line for line in file if line[0] != "#"), delimiter="\t")
        return {
            name: tuple(row["media_types"].split()) for row in rows for name in row["words"].split()
        }


def widened(candidates: int) -> int | None:
    """A larger number of candidates; None at the maximum."""
    return _bounded(_GROWTH * candidates) if candidates < MAX_CANDIDATES else None


def _bounded(candidates: int) -> int:
    return min(max(_MIN_CANDIDATES, candidates), MAX_CANDIDATES)


def _share(modalities: tuple[Modality, ...], limit: int, diversity: float) -> Share:
    pool = min(max(_OVER_FETCH * limit, _MIN_POOL), _MAX_POOL) if diversity else 0
    return Share(modalities, limit, max(pool, limit + 1))


def check(query: Query, supported: Collection[Modality]) -> None:
    """Check every field."""
    _check_terms(query.terms)
    _check_whole("limit", query.limit, 1, MAX_LIMIT)
    _check_whole("moments", query.moments, 0, MAX_MOMENTS)
    _check_kinds("modalities", query.modalities, supported)
    _check_kinds("quotas", query.quotas, query.modalities or supported)
    for modality, n in query.quotas.items():
        _check_whole(f"quotas[{str(modality)!r}]", n, 0, MAX_LIMIT)
    if query.quotas and not 1 <= sum(query.quotas.values()) <= MAX_LIMIT:
        total = sum(query.quotas.values())
        raise _wrong("quotas", f"{total} hits in all", f"1 to {MAX_LIMIT} hits in all")
    if not 0 <= query.diversity <= 1:  # also refuses NaN
        raise _wrong("diversity", repr(query.diversity), "a number from 0 to 1")
    threshold = query.score_threshold
    if threshold is not None and not abs(threshold) < float("inf"):
        raise _wrong("score_threshold", repr(threshold), "a finite number")
    _check_choice("group_by", query.group_by, ("asset", "segment"))
    check_sort(query.sort)
    _check_choice("consistency", query.consistency, ("session", "strong"))


def _check_terms(terms: Sequence[Term]) -> None:
    if not terms:
        raise _wrong("items", "none", "at least one item to search with")
    for index, term in enumerate(terms):
        if (term.item is None) == (term.asset_id == ""):
            got = "neither" if term.item is None else "both"
            raise _wrong(f"items[{index}]", got, "an item or an asset_id")
        if not 0 < abs(term.weight) <= MAX_WEIGHT:  # also refuses NaN
            wanted = f"a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, not 0"
            raise _wrong(f"items[{index}].weight", repr(term.weight), wanted)
    if all(term.weight < 0 for term in terms):
        raise _wrong("items", "only negative weights", "at least one that is positive")


def _check_kinds(
    name: str, modalities: Collection[Modality], supported: Collection[Modality]
) -> None:
    for modality in modalities:
        if modality not in supported:
            raise _wrong(name, repr(str(modality)), ", ".join(sorted(supported)))


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(name, repr(value), f"a whole number, {low} to {high}")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise _wrong(name, repr(value), " or ".join(map(repr, choices)))


def _wrong(name: str, got: str, wanted: str) -> InputError:
    return InputError(f"query.{name}", got=got, wanted=wanted)
