"""Names of places in a query, from those that a library's photos have.

A name is read after a word such as "in", as the whole query, with a capital where no other name
follows, or at its end if it has two words. Those that are also common words only count after such a
word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TypeAlias

from encoder.media.metadata.camera import PlaceNames, place_names
from search.filters import parse_filter
from search.store.base import VectorStore
from search.store.rereading import Rereading

_BEFORE = re.compile(
    r"(?:^|\s)(?:in|at|near|from|around|to|bei|aus|von|nahe|nach|um)(?:\s+(?:the|der|dem|den))?\s+$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")
_HAN = re.compile(r"[一-鿿]{2,}")
_AFTER_HAN = re.compile(r"$|[\s的，,。0-9拍]")
_CONTINUED = re.compile(
    r"\s(?!(?:Foto|Bild|Video|Film|Aufnahme|Urlaub|Reise|Sommer|Winter|Herbst|Frühling))[A-ZÄÖÜ]"
)
_MOST_WORDS = 4
_AMBIGUOUS = frozenset(
    """anger angel ball bar bath berg bergen best bird buffalo chad charlotte china cork deal essen
    florence georgia hall halle ham hamm hof jackson jordan kiel lens lincoln lucky male march
    marina mobile nice orange phoenix pisa reading regen rich rugby sale see split troy turkey tours
    victoria wald weil""".split()
)


KnownPlaces: TypeAlias = Mapping[str, Sequence[str]]
"""By a name, as it is compared: that name as the library has it, and others of the same place."""


def known_names(places: Iterable[Collection[str]]) -> dict[str, Sequence[str]]:
    """From the names of each place, as `find_place` takes them."""
    return {
        name.casefold(): (name, *(other for other in names if other != name))
        for names in places
        for name in names
        if len(name) > 1
    }


def find_place(text: str, names: KnownPlaces) -> tuple[str, int, int] | None:
    """A place's name as the library has it, and its range in the text, with its preposition.

    >>> find_place("sunset in berlin", {"berlin": ["Berlin"]})
    ('Berlin', 6, 16)
    >>> find_place("Turkey dinner", {"turkey": ["Turkey"]})
    """
    ranges = (*_han(text, names), *_spaced(text, names))
    return min(ranges, key=lambda place_range: place_range[1] - place_range[2], default=None)


def _spaced(text: str, names: KnownPlaces) -> Iterator[tuple[str, int, int]]:
    words = list(_WORD.finditer(text))
    for first in range(len(words)):
        for last in range(first, min(first + _MOST_WORDS, len(words))):
            start, end = words[first].start(), words[last].end()
            name, *_ = names.get(text[start:end].casefold(), ("",))
            if not name:
                continue
            lead = _BEFORE.search(text[:start])
            if lead and (text[start].isupper() or name.casefold() not in _AMBIGUOUS):
                yield name, lead.start(), end
            elif _stands_alone(text, start, end, name):
                yield name, start, end


def _stands_alone(text: str, start: int, end: int, name: str) -> bool:
    """Whether it is the whole text, its end, or a name that another one does not continue."""
    if name.casefold() in _AMBIGUOUS or _CONTINUED.match(text, end):
        return False
    is_end, is_whole = not text[end:].strip(" .!?"), not text[:start].strip()
    return text[start].isupper() or (is_end and (is_whole or " " in name))


def _han(text: str, names: KnownPlaces) -> Iterator[tuple[str, int, int]]:
    """In a text without spaces: a name that begins a run, or follows 在, up to its end or 的."""
    for run in _HAN.finditer(text):
        for length in range(len(run[0]), 1, -1):
            end = run.start() + length
            name = text[run.start() : end].removeprefix("在")
            if name in names and _AFTER_HAN.match(text, end):
                yield name, run.start(), end + (text[end : end + 1] == "的")
                break


_REST_S = 60.0
_LOCATED = parse_filter({"field": "latitude", "gte": -90})


class LibraryPlaces(Rereading):
    """Names of places, as of a minute ago, or longer if reading them takes more than 3 s."""

    def __init__(self, store: VectorStore) -> None:
        super().__init__("places", _REST_S)
        self._store = store
        self._names: KnownPlaces = {}

    def names(self) -> KnownPlaces:
        """As `find_place` takes them."""
        self.begin()
        self.is_read()
        return self._names

    def read(self, is_unwanted: Callable[[], bool]) -> None:
        """Read the names; the table of towns says which of them are names of one place."""
        names_read, groups = dict[str, tuple[str, ...]](), dict[object, PlaceNames | None]()
        for row in takewhile(lambda _: not is_unwanted(), self._store.scan(_LOCATED)):
            facts = row.metadata
            names_read |= {str(name): (str(name),) for name in _list(facts.get("places"))}
            if (city := facts.get("city")) not in groups:
                groups[city] = place_names(_number(facts, "latitude"), _number(facts, "longitude"))
        known = [names for town in groups.values() if town for names in vars(town).values()]
        self._names = known_names(names_read.values()) | {
            key: names for key, names in known_names(known).items() if names[0] in names_read
        }


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _number(facts: Mapping[str, object], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
