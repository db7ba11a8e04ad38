"""Turn dates and places in a query's texts into filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date

from encoder.types import TEXT, Item
from search.filters import And, Filter, parse_filter
from search.query.query import Query, Term
from search.store.base import VectorStore
from search.types import READINGS, JsonValue, Understood
from search.understanding.calendar import Period
from search.understanding.dates import find_date
from search.understanding.places import find_place

MAX_CHARS = 1000
"""Reading dates takes some ten milliseconds of such a text, and grows faster than its length."""


def understand(
    query: Query, store: VectorStore, places: Callable[[], Mapping[str, str]], today: date
) -> tuple[Query, list[Understood]]:
    """The query with the words that were understood moved to its filter, and what these were.

    A filter that no asset meets is not used: its words are searched for. What remains of a text is
    encoded; if no word remains, all of it is.

    Args:
        query: ``query.understand`` says what may be read.
        store: the store whose assets decide.
        places: the names of places in it.
        today: the date used to resolve "yesterday".
    """
    terms, understood, filter = [], list[Understood](), query.filter
    for term in query.terms:
        text = _text(term) if reads(term) else ""
        for reading in READINGS if text else ():
            if reading not in query.understand:
                continue
            understanding = _date(text, today) if reading == "date" else _place(text, places())
            if understanding is None:
                continue
            condition = parse_filter(understanding.filter)
            joined = And((filter, condition)) if filter else condition
            if _holds(store, joined):
                understood, filter = [*understood, understanding], joined
                text = without(text, understanding.text)
        terms.append(_with_text(term, text) if text else term)
    return (replace(query, items=terms, filter=filter), understood) if understood else (query, [])


def reads(term: Term) -> bool:
    """Whether a term is short enough to be a question; dates in a longer text are its subject."""
    return len(_text(term)) <= MAX_CHARS


def without(text: str, phrase: str) -> str:
    """A text without a part of it.

    >>> without("beach in May 2024, evening", "in May 2024")
    'beach, evening'
    """
    head, _, tail = text.partition(phrase)
    joined = f"{head.rstrip()}{tail}" if tail[:1] in ",;" else f"{head} {tail}"
    return " ".join(joined.split()).strip(" ,;")


def _date(text: str, today: date) -> Understood | None:
    dated = find_date(text, today)
    if dated is None:
        return None
    return Understood("date", text[dated.start : dated.end].strip(), taken_in(dated.period))


def _place(text: str, names: Mapping[str, str]) -> Understood | None:
    located = find_place(text, names)
    if located is None:
        return None
    name, start, end = located
    return Understood("place", text[start:end].strip(), {"field": "places", "contains": name})


def taken_in(period: Period) -> dict[str, JsonValue]:
    """The filter of a period."""
    ends = {"gte": period.start, "lt": period.end}
    return {"field": "taken", **{name: str(end) for name, end in ends.items() if end}}


def _text(term: Term) -> str:
    is_text = term.item is not None and term.item.modality == TEXT and term.weight > 0
    return str(term.item.content) if is_text and term.item else ""


def _with_text(term: Term, text: str) -> Term:
    if not term.item or text == _text(term) or not any(map(str.isalnum, text)):
        return term
    return replace(term, item=Item(TEXT, text, term.item.role))


def _holds(store: VectorStore, filter: Filter) -> bool:
    """Whether an asset meets a filter."""
    return next(iter(store.select(filter, limit=1)), None) is not None
