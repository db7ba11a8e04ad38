"""Take what a query's texts say of dates and places as filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from encoder.types import TEXT, Item
from search.filters import And, Filter, parse_filter
from search.store.base import VectorStore
from search.types import JsonValue, Query, Term, Understood
from search.understanding.calendar import Period
from search.understanding.dates import find_date


def understand(query: Query, store: VectorStore, today: date) -> tuple[Query, list[Understood]]:
    """The query without what was understood, which is in its filter; and what that was.

    A filter that no asset meets is none: its words are searched for. What remains of a text is
    encoded; if no word remains, all of it is.

    Args:
        query: ``query.understand`` says what may be read.
        store: whose assets decide.
        today: what "yesterday" follows.
    """
    terms, found, filter = [], list[Understood](), query.filter
    for term in query.terms:
        text = _text(term)
        for one in _read(text, query, today) if text else ():
            wanted = parse_filter(one.filter)
            joined = And((filter, wanted)) if filter else wanted
            if _holds(store, joined):
                found, filter = [*found, one], joined
                text = without(text, one.text)
        terms.append(_with_text(term, text))
    return (replace(query, items=terms, filter=filter), found) if found else (query, [])


def without(text: str, part: str) -> str:
    """A text without a part of it.

    >>> without("beach in May 2024, evening", "in May 2024")
    'beach, evening'
    """
    before, _, after = text.partition(part)
    joined = f"{before.rstrip()}{after}" if after[:1] in ",;" else f"{before} {after}"
    return " ".join(joined.split()).strip(" ,;")


def _read(text: str, query: Query, today: date) -> Iterator[Understood]:
    if "date" in query.understand and (found := find_date(text, today)):
        yield Understood("date", text[found.start : found.end].strip(), taken_in(found.period))


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
