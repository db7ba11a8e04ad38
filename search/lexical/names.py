"""The names of assets: those of files and folders, tags, places and captions, as words. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from search.lexical.analysis import can_be_misspelt, holds_alike, terms, words
from search.lexical.index import IndexedText
from search.types import AssetRow

if TYPE_CHECKING:
    import tantivy

_BORDERS = re.compile(r"(?<=[a-zäöüß])(?=[A-ZÄÖÜ])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_MAX_LOCATIONS = 20
_YEAR_DIGITS, _DAY_DIGITS = 4, 8
_LANGUAGES = ("english", "german", "spanish", "italian", "dutch", "russian")
"""Not French or Portuguese, for which "police" and "policies" are forms of one word."""
_ALIKE = 3
"""Forms of a word have at least so many first letters in common."""
_MISSPELT = 0.95


@dataclass(frozen=True)
class AssetNames:
    """Words of an asset: those that any user may see, and those of its folders."""

    own: frozenset[str]
    folders: frozenset[str]


def names_of(row: AssetRow) -> AssetNames:
    """The words by which an asset is found, from the first twenty of its locations.

    >>> from encoder.types import IMAGE
    >>> row = AssetRow("a", IMAGE, "image/png", 1, {}, ["/pictures/summerTrip/IMG_0042.JPG"])
    >>> sorted(names_of(row).own), sorted(names_of(row).folders)
    (['0042', 'img', 'jpg'], ['pictuX', 'pictures', 'summeX', 'summer', 'trip'])
    """
    file_names, folders = written_names(row)
    return AssetNames(
        frozenset(terms(split(" ".join(file_names)))), frozenset(terms(split(" ".join(folders))))
    )


def written_names(row: AssetRow) -> tuple[list[str], list[str]]:
    """An asset's own names, as they are written, and those of its folders.

    Its own are also its title, caption and tags, when it was made, and where it was taken.
    """
    files, folders = [], []
    for uri in row.locations[:_MAX_LOCATIONS]:
        path = unquote(uri) if "://" in uri else uri
        folder, _, name = path.rpartition("/")
        files.append(name)
        folders.append(folder)
    described = [str(row.metadata.get(name, "")) for name in ("title", "caption", "created")]
    for name in ("tags", "places"):
        value = row.metadata.get(name)
        if isinstance(value, list | tuple):
            described += map(str, value)
    return [*files, *described], folders


def text_of(row: AssetRow) -> IndexedText:
    """An asset's entry in an index of names, under its id; `names_in` reads the note."""
    names = names_of(row)
    note = f"{' '.join(names.own)}\n{' '.join(names.folders)}"
    index_terms = names.own | names.folders
    return IndexedText(row.asset_id, "", "", note.encode(), more_terms=index_terms)


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
        self._stems = {word: stems(word) for word in words(split(text))}

    def match(self, names: AssetNames, *, with_folders: bool) -> float:
        """The fraction of the text's letters and digits that is in words of these names, 0 to 1.

        Forms of a word count as the word, and one with a letter wrong almost as much. "7" is also
        in 07, and a year in a day such as 20220209.
        """
        name_words = names.own | names.folders if with_folders else names.own
        n_held = sum(len(word) * self._part(word, name_words) for word in self._stems)
        return n_held / max(sum(map(len, self._stems)), 1)

    def _part(self, word: str, name_words: Collection[str]) -> float:
        if word in name_words or _has_number(word, name_words):
            return 1.0
        if not can_be_misspelt(word):
            return 0.0
        near = [alike_word for alike_word in name_words if alike_word[:_ALIKE] == word[:_ALIKE]]
        if any(not self._stems[word].isdisjoint(stems(alike_word)) for alike_word in near):
            return 1.0
        # Another last letter is rather another word, as in "police" and "policy".
        alike = [other for other in name_words if len(other) != len(word) or other[-1] == word[-1]]
        return _MISSPELT * holds_alike(alike, word)


@lru_cache(10_000)
def stems(word: str) -> frozenset[str]:
    """The stems of a word by Snowball's rules for six languages, each with its language.

    A name does not say which language it is in, so that two words are forms of one if any language
    has the same stem for both.

    >>> stems("invoices").isdisjoint(stems("invoice")), stems("police").isdisjoint(stems("policy"))
    (False, True)
    """
    return frozenset(
        f"{language} {stem}"
        for language, stemmer in _stemmers().items()
        for stem in stemmer.analyze(word)
    )


@cache
def _stemmers() -> Mapping[str, tantivy.TextAnalyzer]:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return {
        language: TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.stemmer(language)).build()
        for language in _LANGUAGES
    }


def _has_number(word: str, name_words: Collection[str]) -> bool:
    is_year = len(word) == _YEAR_DIGITS
    return word.isdecimal() and any(
        name_word.lstrip("0") == word.lstrip("0")
        or (is_year and len(name_word) == _DAY_DIGITS and name_word.startswith(word))
        for name_word in name_words
        if name_word.isdecimal()
    )
