"""The names of assets: those of files and folders, tags, places and captions, as words. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from search.lexical.analysis import part_held, terms, words
from search.lexical.index import IndexedText
from search.types import AssetRow

_BORDERS = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_MAX_LOCATIONS = 20
_YEAR_DIGITS, _DAY_DIGITS = 4, 8


@dataclass(frozen=True)
class AssetNames:
    """Words of an asset: those that any user may see, and those of its folders."""

    own: frozenset[str]
    folders: frozenset[str]


def names_of(row: AssetRow) -> AssetNames:
    """The words by which an asset is found, from the first twenty of its locations.

    >>> from encoder.types import IMAGE
    >>> row = AssetRow("a", IMAGE, "image/png", 1, 1, ["/pictures/summerTrip/IMG_0042.JPG"])
    >>> sorted(names_of(row).own), sorted(names_of(row).folders)
    (['0042', 'img', 'jpg'], ['pictuX', 'pictures', 'summeX', 'summer', 'trip'])
    """
    own, folders = written_names(row)
    return AssetNames(
        frozenset(terms(split(" ".join(own)))), frozenset(terms(split(" ".join(folders))))
    )


def written_names(row: AssetRow) -> tuple[list[str], list[str]]:
    """An asset's own names, as they are written, and those of its folders."""
    files, folders = [], []
    for uri in row.locations[:_MAX_LOCATIONS]:
        path = unquote(uri) if "://" in uri else uri
        folder, _, name = path.rpartition("/")
        files.append(name)
        folders.append(folder)
    return [*files, *_said(row)], folders


def text_of(row: AssetRow) -> IndexedText:
    """An asset's entry in an index of names, under its id; `names_in` reads the note."""
    names = names_of(row)
    note = f"{' '.join(names.own)}\n{' '.join(names.folders)}"
    return IndexedText(row.asset_id, "", " ".join(names.own | names.folders), note.encode())


def names_in(note: bytes) -> AssetNames:
    """The names in a note of `text_of`."""
    own_words, folders = note.decode().split("\n")
    return AssetNames(frozenset(own_words.split()), frozenset(folders.split()))


def split(text: str) -> str:
    """A text with spaces where a word of a name ends.

    >>> split("IMG0042 summerTrip2019")
    'IMG 0042 summer Trip 2019'
    """
    return _BORDERS.sub(" ", text)


class NameQuery:
    """The words of a text that names may hold; they are read once for all names.

    >>> names = AssetNames(frozenset(["img", "0042"]), frozenset(["beach"]))
    >>> NameQuery("IMG_0042").match(names, with_folders=True)
    1.0
    >>> NameQuery("beach").match(names, with_folders=False)
    0.0
    """

    def __init__(self, text: str) -> None:
        self._words = frozenset(words(split(text)))

    def match(self, names: AssetNames, *, with_folders: bool) -> float:
        """The fraction of the text's letters and digits that is in words of these names, 0 to 1.

        "7" is also in 07, and a year in a day such as 20220209.
        """
        held = names.own | names.folders if with_folders else names.own
        numbers = (word for word in self._words if _has_number(word, held))
        return part_held(held.union(numbers), self._words)


def _has_number(word: str, name_words: Collection[str]) -> bool:
    is_year = len(word) == _YEAR_DIGITS
    return word.isdecimal() and any(
        name_word.lstrip("0") == word.lstrip("0")
        or (is_year and len(name_word) == _DAY_DIGITS and name_word.startswith(word))
        for name_word in name_words
        if name_word.isdecimal()
    )


def _said(row: AssetRow) -> Iterator[str]:
    """Its title, caption and tags, when it was made, and the names of where it was taken."""
    for name in ("title", "caption", "created"):
        yield str(row.metadata.get(name, ""))
    for name in ("tags", "places"):
        value = row.metadata.get(name)
        if isinstance(value, list | tuple):
            yield from map(str, value)
