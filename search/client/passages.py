"""What a hit says. Pure."""

from __future__ import annotations

from search.api.schemas import HitOut


def whole_passage(hit: HitOut, text: str) -> str:
    """The segment of a hit in the text of its file; its snippet if that stands elsewhere.

    Args:
        hit: of a text file.
        text: of the file, as sent by the server; another encoding shifts what stands where.
    """
    passage = text[hit.char_start or 0 : hit.char_end]
    return passage if hit.snippet.strip("…") in passage else hit.snippet
