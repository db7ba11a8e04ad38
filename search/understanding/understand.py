"""The dates and places that a query's texts name, and what is left of the question without them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

from encoder.types import TEXT, Item
from search.filters import Compare, Filter, Operator, Or, parse_filter
from search.query.planner import kind_words
from search.query.query import Query, Term
from search.types import READINGS, Reading
from search.understanding.calendar import one_of
from search.understanding.dates import find_date
from search.understanding.places import KnownPlaces, find_place
from search.understanding.written import Written, written_date, written_place

MAX_CHARS = 1000
"""Reading dates takes some ten milliseconds of such a text, and grows faster than its length."""

_DOCUMENTS = frozenset("document documents dokument dokumente dokumenten 文档".split())
# Not all pictures are screenshots, as not all documents are invoices.
_NARROWER = frozenset(
    """screenshot screenshots bildschirmfoto 截图 aufnahme aufnahmen song music lied musik 音乐 歌曲
    geräusch 声音 voicemail sprachmemo""".split()
)
_IDLE = frozenset(
    """a all alle any anything aufgenommen aus das datei dateien dateien dem den der die
    e entstanden every everything file files find finde from gemacht habe haben have i
    ich in made me mein meine meinen mir my of our recorded shot show taken that the
    there those took unsere vom von was we were what wir wurden zeig zeige 的 我 我的 我们 所有
    全部 拍 拍的 拍摄 拍摄的 在""".split()
)


@dataclass(frozen=True)
class Sought:
    """A date or a place of a question.

    Args:
        kind: which of both.
        text: as it is written in the question.
        filter: of assets that were taken then or there; ``plain_filter`` as plain values.
        written: how texts and names show it.
    """

    kind: Reading
    text: str
    plain_filter: Mapping[str, str]
    written: Written

    @property
    def filter(self) -> Filter:
        return parse_filter(self.plain_filter)


@dataclass(frozen=True)
class Meaning:
    """What a query's texts name.

    Args:
        sought: dates and places.
        rest_terms: the query's terms without them.
        is_all: whether nothing else is in the question, except for words of ``kind``.
        kind: a filter of the assets that are wanted; None for all.
    """

    sought: Sequence[Sought]
    rest_terms: Sequence[Term]
    is_all: bool = False
    kind: Filter | None = None


def understand(query: Query, places: KnownPlaces, today: date) -> Meaning:
    """Read the dates and places that ``query.understand`` wants read.

    Args:
        query: what is asked.
        places: of the library.
        today: the date used to resolve "yesterday".
    """
    rest_terms, sought_all = list[Term](), list[Sought]()
    for term in query.terms:
        text = text_of(term) if reads(term) else ""
        for reading in READINGS if text else ():
            sought = None
            if reading in query.understand:
                sought = _date(text, today) if reading == "date" else _place(text, places)
            if sought:
                sought_all.append(sought)
                text = without(text, sought.text)
        rest_terms.append(_with_text(term, text) if text else term)
    if len(query.terms) > 1 or not sought_all:
        return Meaning(sought_all, rest_terms)
    return Meaning(sought_all, rest_terms, *_nothing_else(text))


def _nothing_else(text: str) -> tuple[bool, Filter | None]:
    """Whether a text only names a kind of file, and the filter of this kind.

    >>> _nothing_else("all my photos") == _nothing_else("的照片")
    True
    >>> _nothing_else("photos of a cat"), _nothing_else("invoices")
    ((False, None), (False, None))
    """
    text_words = re.findall(r"\w+", _han_word().sub(r" \g<0> ", text.casefold()))
    kinds = [word for word in text_words if word not in _IDLE]
    if not kinds or _DOCUMENTS.issuperset(kinds):
        return True, Compare("modality", Operator.EQ, TEXT) if kinds else None
    media_types, *other_types = {kind_words().get(kind, ()) for kind in kinds}
    is_narrower = media_types in ((), kind_words()["invoice"]) or not _NARROWER.isdisjoint(kinds)
    if other_types or is_narrower:
        return False, None
    return True, Or(tuple(Compare("media_type", Operator.PREFIX, start) for start in media_types))


@cache
def _han_word() -> re.Pattern[str]:
    return re.compile(one_of(word for word in (*kind_words(), *_IDLE, *_DOCUMENTS) if word > "一"))


def reads(term: Term) -> bool:
    """Whether a term is short enough to be a question; dates in a longer text are its subject."""
    return len(text_of(term)) <= MAX_CHARS


def without(text: str, phrase: str) -> str:
    """A text without a part of it.

    >>> without("beach in May 2024, evening", "in May 2024")
    'beach, evening'
    """
    head, _, tail = text.partition(phrase)
    joined = f"{head.rstrip()}{tail}" if tail[:1] in ",;" else f"{head} {tail}"
    return " ".join(joined.split()).strip(" ,;")


def _date(text: str, today: date) -> Sought | None:
    dated = find_date(text, today)
    if dated is None:
        return None
    ends = {"gte": dated.period.start, "lt": dated.period.end}
    taken = {"field": "taken", **{name: str(end) for name, end in ends.items() if end}}
    return Sought("date", text[dated.start : dated.end].strip(), taken, written_date(dated.period))


def _place(text: str, places: KnownPlaces) -> Sought | None:
    located = find_place(text, places)
    if located is None:
        return None
    name, start, end = located
    taken = {"field": "places", "contains": name}
    return Sought("place", text[start:end].strip(), taken, written_place(places[name.casefold()]))


def text_of(term: Term) -> str:
    """The text of a term that pulls; empty for others."""
    is_text = term.item is not None and term.item.modality == TEXT and term.weight > 0
    return str(term.item.content) if is_text and term.item else ""


def _with_text(term: Term, text: str) -> Term:
    if not term.item or text == text_of(term) or not any(map(str.isalnum, text)):
        return term
    return replace(term, item=Item(TEXT, text, term.item.role))
