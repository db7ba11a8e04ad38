"""Text to windows of prose, and tables of numbers to a description each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from encoder.errors import UnsupportedMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.decode.numbers import Span, parts
from ingest.limits import check
from ingest.split import split_text
from ingest.types import Asset, Segment


def text_segments(
    asset: Asset, path: Path, text: str, config: IngestConfig, *, markdown: bool = False
) -> Iterator[Segment]:
    """Windows with their offsets into ``text``; numbers are described, not spelled out.

    Args:
        asset: whose text it is.
        path: the file, for messages.
        text: all of it.
        config: window sizes and limits.
        markdown: prefer boundaries of Markdown's blocks and headings.

    Raises:
        MediaError: no text, or too much.
    """
    check(str(path), "max_text_chars", len(text), config)
    if not text.strip():
        raise UnsupportedMediaError(
            f"{path} holds no text.",
            remedy="If it holds scanned pages, run text recognition (OCR) over it first.",
        )
    title = str(asset.metadata.get("title") or path.stem)
    for index, (start, end, table) in enumerate(_spans(text, title, config, markdown=markdown)):
        window = table or text[start:end]
        yield Segment(
            asset.asset_id,
            TEXT,
            index,
            window,
            char_start=start,
            char_end=end,
            snippet=window,
        )


def joined_text(segments: Sequence[Segment]) -> str:
    """The windows as one text, in which what neighbours share stands once."""
    whole, end = "", 0
    for segment in segments:
        start = segment.char_start or 0
        if start > end:
            whole += "\n"
        whole += segment.content[max(0, end - start) :] if start < end else segment.content
        end = max(end, segment.char_end or 0)
    return whole.strip()


def _spans(text: str, title: str, config: IngestConfig, *, markdown: bool) -> Iterator[Span]:
    window, overlap = config.text_window_chars, config.text_overlap_chars
    for part in parts(text, title):
        if part.table:
            yield part
            continue
        prose = text[part.start : part.end]
        for start, end in split_text(prose, window, overlap, markdown=markdown):
            yield Span(part.start + start, part.start + end)
