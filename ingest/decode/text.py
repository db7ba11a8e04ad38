"""Text: plain, Markdown, HTML and PDF, in overlapping windows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from encoder.errors import UnsupportedMediaError
from encoder.media.source import opened
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.decode.charset import decode_bytes, encoding_of
from ingest.decode.html import declared_charset, html_text, html_title
from ingest.decode.numbers import Span, parts
from ingest.decode.pdf import pdf_facts, pdf_text
from ingest.limits import check
from ingest.split import split_text
from ingest.types import Asset, Fact, Segment

_TITLE_BYTES = 65_536


def describe(path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:
    """Title: what the page or document calls itself, else the file's stem."""
    title = ""
    if media_type == "text/html":
        title = html_title(_read(path, _TITLE_BYTES), str(path))
    elif media_type == "application/pdf":
        title, n_pages = pdf_facts(path)
        check(str(path), "max_pdf_pages", n_pages, config)
    return {"title": title or path.stem}


def segments(asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
    """Windows with their offsets into the decoded text; numbers are described, not spelled out."""
    text = read_text(path, asset.media_type, config)
    check(str(path), "max_text_chars", len(text), config)
    if not text.strip():
        raise UnsupportedMediaError(
            f"{path} holds no text.",
            remedy="If it holds scanned pages, run text recognition (OCR) over it first.",
        )
    for index, (start, end, told) in enumerate(_windows(asset, path, text, config)):
        window = told or text[start:end]
        yield Segment(
            asset.asset_id,
            TEXT,
            index,
            window,
            char_start=start,
            char_end=end,
            snippet=window,
        )


def _windows(asset: Asset, path: Path, text: str, config: IngestConfig) -> Iterator[Span]:
    """Windows of prose, and each table or list of numbers as one."""
    markdown = asset.media_type == "text/markdown"
    window, overlap = config.text_window_chars, config.text_overlap_chars
    for part in parts(text, str(asset.metadata.get("title") or path.stem)):
        if part.table:
            yield part
            continue
        for start, end in split_text(
            text[part.start : part.end], window, overlap, markdown=markdown
        ):
            yield Span(part.start + start, part.start + end)


def read_text(path: Path, media_type: str, config: IngestConfig) -> str:
    """The decoded text that offsets refer to."""
    if media_type == "application/pdf":
        return pdf_text(path, config.max_text_chars)
    data = _read(path)
    return html_text(data, str(path)) if media_type == "text/html" else decode_bytes(data)


def charset_of(path: Path, media_type: str) -> str:
    """The codec by which `read_text` decodes a plain text, a Markdown or an HTML file.

    Raises:
        MediaError: it cannot be read.
    """
    with opened(path) as file:
        facts = os.fstat(file.fileno())
        return _charset_of(str(path), media_type, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4096)
def _charset_of(path: str, media_type: str, _mtime_ns: int, _size_bytes: int) -> str:
    """Kept, since most of a file may have to be read for it."""
    with opened(path) as file:
        declared = declared_charset(file.read(2048)) if media_type == "text/html" else None
        return encoding_of(file, declared)


def _read(path: Path, n_bytes: int = -1) -> bytes:
    with opened(path) as file:
        return file.read(n_bytes)
