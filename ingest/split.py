"""Cut text and sound into windows. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK_CHARS = 20_000
"""Text is split block by block, since the splitter's time grows with the square of a line."""


class TextSpan(NamedTuple):
    """Characters ``start`` to ``end`` (exclusive) of a text."""

    start: int
    end: int


def split_text(text: str, window: int, overlap: int, *, markdown: bool = False) -> list[TextSpan]:
    """Cut text into windows at paragraphs, else sentences, else words.

    Args:
        text: any text; white space at the windows' edges is left out.
        window: the most characters in a window.
        overlap: the most characters that two neighbours share.
        markdown: prefer boundaries of Markdown's blocks and headings.

    Returns:
        spans in order; every visible character is in one or two of them.
    """
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    splitter = (MarkdownSplitter if markdown else TextSplitter)(
        window, overlap=min(overlap, window // 2)
    )
    spans = [
        _trimmed(chunk, block.start + start)
        for block in _blocks(text)
        for start, chunk in splitter.chunk_indices(text[block.start : block.end])
        if chunk.strip()
    ]
    return _join_short(spans, window)


def split_sound(
    chunks: Iterable[NDArray[np.float32]], window: int, tail: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Cut a stream of samples into windows, keeping little more than one in memory.

    Args:
        chunks: float32 [n] each, of any lengths.
        window: samples in a window.
        tail: a shorter remainder joins the previous window.

    Yields:
        the first sample's position, and the window [window], the last one
        [1 .. window + tail - 1].
    """
    start, waiting = 0, np.empty(0, np.float32)
    for chunk in chunks:
        waiting = np.concatenate([waiting, chunk])
        while len(waiting) >= window + max(tail, 1):
            yield start, waiting[:window]
            start, waiting = start + window, waiting[window:]
    if len(waiting):
        yield start, waiting


def _blocks(text: str) -> Iterator[TextSpan]:
    """Pieces of at most `_BLOCK_CHARS`, cut at the last line end or space where there is one."""
    start = 0
    while len(text) - start > _BLOCK_CHARS:
        limit = start + _BLOCK_CHARS
        end = next((i for mark in "\n ." if (i := text.rfind(mark, start, limit)) > start), -1) + 1
        yield TextSpan(start, start := end or limit)
    yield TextSpan(start, len(text))


def _trimmed(chunk: str, start: int) -> TextSpan:
    """Strip white space at the edges, which Markdown's splitter leaves in front."""
    first = start + len(chunk) - len(chunk.lstrip())
    return TextSpan(first, first + len(chunk.strip()))


def _join_short(spans: list[TextSpan], window: int) -> list[TextSpan]:
    """Join neighbours that fit into one window, such as a heading and its paragraph."""
    joined: list[TextSpan] = []
    for span in spans:
        if joined and span.end - joined[-1].start <= window:
            joined[-1] = TextSpan(joined[-1].start, span.end)
        else:
            joined.append(span)
    return joined
