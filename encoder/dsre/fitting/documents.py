"""Texts that provide their own query: a title or first sentence, and the rest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Literal, NamedTuple

from encoder.errors import InputError

Part = Literal["rarity", "choose", "judge"]

PERCENT_UP_TO: Mapping[Part, int] = {"rarity": 70, "choose": 90, "judge": 100}
_MAX_TITLE_CHARACTERS = 200
_MIN_BODY_CHARACTERS = 200
_SUFFIXES = (".txt", ".md", ".rst")


class Document(NamedTuple):
    """What a reader would search for, and the text that answers."""

    title: str
    body: str


def read_documents(folder: Path) -> list[Document]:
    """The documents among the ``.txt``, ``.md`` and ``.rst`` files of a folder, by name.

    Raises:
        InputError: there is none with a title and a body.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    as_documents = map(as_document, (path.read_text("utf-8", errors="replace") for path in files))
    documents = [document for document in as_documents if document]
    if not documents:
        raise InputError(
            str(folder), got=f"{len(files)} text files, none with a title and a body",
            wanted=f"files ({', '.join(_SUFFIXES)}), each a text that starts with its title",
        )  # fmt: skip
    return documents


def as_document(text: str) -> Document | None:
    """Split a text into its first line, or sentence, and the rest; None if either is too short.

    >>> as_document("How to mend a roof. " + "Take a ladder. " * 20).title
    'How to mend a roof.'
    """
    head, _, body_text = text.strip().partition("\n")
    if len(head) > _MAX_TITLE_CHARACTERS or not body_text:
        head, *sentences = re.split(r"(?<=[.!?])\s+", head, maxsplit=1)
        body_text = "\n".join([*sentences, body_text])
    title, body = head.strip(" #=*"), body_text.strip()
    too_short = len(title.split()) < 2 or len(body) < _MIN_BODY_CHARACTERS
    return None if too_short else Document(title, body)


def part_of(document: Document) -> Part:
    """The part of a document, by a hash of its body: the same in any collection."""
    percent = int(hashlib.sha256(document.body.encode()).hexdigest(), 16) % 100
    return next(name for name, end in PERCENT_UP_TO.items() if percent < end)


def parted(documents: Iterable[Document]) -> dict[Part, list[Document]]:
    """The documents of each part, without duplicates."""
    parts: dict[Part, list[Document]] = {name: [] for name in PERCENT_UP_TO}
    for document in dict.fromkeys(documents):
        parts[part_of(document)].append(document)
    return parts


_CHARACTERS = (800, 800, 800, 800, 2400)
"""Lengths of a chapter's pieces, in turn: about 180 BERT tokens, and 550 to time the gate with."""


def sample_documents() -> list[Document]:
    """Some 400 pieces of the reference, each with its first sentence as the query.

    Every Python includes the reference; it differs in places between versions.
    """
    from pydoc_data.topics import topics

    pieces = _pieces(topics[name] for name in sorted(topics))
    return [document for piece in pieces if (document := as_document(piece))]


def _pieces(chapters: Iterator[str]) -> Iterator[str]:
    """Paragraphs joined until they are long enough."""
    for chapter, least in zip(chapters, cycle(_CHARACTERS), strict=False):
        piece = ""
        for paragraph in chapter.split("\n\n"):
            piece += " ".join(paragraph.split()) + " "
            if len(piece) >= least:
                yield piece
                piece = ""
        yield piece
