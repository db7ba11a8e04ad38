"""Texts to fit a gate with when none are given: Python's language reference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from encoder.dsre.fitting.documents import Document, as_document

_CHARACTERS = (800, 800, 800, 800, 2400)
"""Lengths of a chapter's pieces, in turn: about 180 BERT tokens, and 550 to time the gate with."""


def sample_documents() -> list[Document]:
    """Some 400 pieces of the reference, each with its first sentence as the query.

    Every Python includes the reference; it differs in places between versions.
    """
    from pydoc_data.topics import topics

    pieces = _pieces(topics[name] for name in sorted(topics))
    return [found for piece in pieces if (found := as_document(piece))]


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
