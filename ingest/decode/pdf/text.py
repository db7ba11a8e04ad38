"""The text of a PDF's page in reading order, and where its characters are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ingest.decode.pdf.columns import Edges, column_order

Rect: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right and top, in points; up is more."""

_ADDED = -1
_AHEAD = 3
_SLACK_PT = 1.0


@dataclass(frozen=True)
class PageText:
    """Text, and which PDFium character each of its characters is.

    Args:
        text: in reading order.
        places: PDFium's index of each character; None if the indices are the same.
    """

    text: str
    places: Sequence[int] | None = None

    def __str__(self) -> str:
        return self.text

    def rects(self, text_page: Any, start: int, end: int) -> Iterator[Rect]:
        """Boxes of the lines from one character to another."""
        for first, n_chars in self._runs(start, end):
            for n in range(text_page.count_rects(first, n_chars)):
                yield text_page.get_rect(n)

    def _runs(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The first character and length of each run that is contiguous in PDFium."""
        if self.places is None:
            yield start, end - start
            return
        some = np.array(
            [char_index for char_index in self.places[start:end] if char_index != _ADDED]
        )
        for run in np.split(some, np.flatnonzero(np.diff(some) != 1) + 1):
            if len(run):
                yield int(run[0]), len(run)


def read_page(text_page: Any) -> PageText:
    """The text of a page of pypdfium2; columns that were drawn line by line are read in turn."""
    # The length must not change, since boxes are found by the index of a character.
    text = text_page.get_text_range().replace("\r\n", " \n")
    n_rects = text_page.count_rects()
    rects: list[Rect] = [text_page.get_rect(n) for n in range(n_rects)]
    order = column_order(_edges(rects)) if n_rects else None
    if order is None or len(text) != text_page.count_chars():
        return PageText(text)
    pieces = _pieces(text_page, rects)
    places: list[int] = []
    letters: list[str] = []
    for number, follower in zip(order, [*order[1:], order[-1] + 1], strict=True):
        piece = pieces[number]
        places += piece
        letters += [text[char_index] for char_index in piece]
        if follower != number + 1 and letters and letters[-1] != "\n":
            places.append(_ADDED)
            letters.append("\n")
    return PageText("".join(letters), places)


def _edges(rects: Sequence[Rect]) -> Edges:
    left, bottom, right, top = np.array(rects, np.float64).T
    return np.stack([left, -top, right, -bottom], axis=1)


def _pieces(text_page: Any, rects: Sequence[Rect]) -> list[list[int]]:
    """The characters of each box, in PDFium's order; spaces belong to what they follow."""
    pieces: list[list[int]] = [[] for _ in rects]
    current_rect = 0
    for char_index in range(text_page.count_chars()):
        left, bottom, right, top = text_page.get_charbox(char_index)
        if right > left and top > bottom:
            x, y = (left + right) / 2, (bottom + top) / 2
            ahead = range(current_rect, min(current_rect + _AHEAD, len(rects)))
            current_rect = next((n for n in ahead if _holds(rects[n], x, y)), current_rect)
        pieces[current_rect].append(char_index)
    return pieces


def _holds(rect: Rect, x: float, y: float) -> bool:
    left, bottom, right, top = rect
    beside = left - _SLACK_PT <= x <= right + _SLACK_PT
    return beside and bottom - _SLACK_PT <= y <= top + _SLACK_PT
