"""PDF: the text of its pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from encoder.media.source import decoding, opened
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.decode.windows import joined_text, text_segments
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.limits import check
from ingest.types import Asset, Fact, Segment

# PDFium must not be called by two threads at once.
_pdfium = Lock()


class Pdf(Kind):
    """Documents of pages, whose mark need not stand first."""

    name = "pdf"
    modality = TEXT
    formats = ("PDF",)
    media_types = frozenset({"application/pdf"})
    suffixes = (".pdf",)

    def sniff(self, head: Head) -> Match | None:
        """By its mark within the first kilobyte."""
        return Match("application/pdf", 1.0) if b"%PDF-" in head.data[:1024] else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: what the document calls itself, else the file's stem."""
        title, n_pages = pdf_facts(path)
        check(str(path), "max_pdf_pages", n_pages, config)
        return {"title": title or path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the text of all pages."""
        return text_segments(asset, path, pdf_text(path, config.max_text_chars), config)

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> str:  # noqa: ARG002
        """The text of all pages."""
        return joined_text(segments)

    def load(self) -> None:
        """Import PDFium."""
        import pypdfium2  # noqa: F401
        import semantic_text_splitter  # noqa: F401


def pdf_text(path: Path, max_chars: int) -> str:
    """The text of all pages, joined by blank lines; stops soon after ``max_chars``."""
    pages: list[str] = []
    n_chars = 0
    with _document(path) as document:
        for page in document:
            pages.append(_page_text(page))
            n_chars += len(pages[-1])
            if n_chars > max_chars:
                break
    return "\n\n".join(text for text in pages if text)


def pdf_facts(path: Path) -> tuple[str, int]:
    """The title in the document's properties, or an empty one; and the number of pages."""
    with _document(path) as document:
        title = " ".join(document.get_metadata_value("Title").split())[:200]
        return title, len(document)


@contextmanager
def _document(path: Path) -> Iterator[Any]:
    from pypdfium2 import PdfDocument

    with opened(path) as file, decoding(path, "PDF"), _pdfium:
        document = PdfDocument(file)
        try:
            yield document
        finally:
            document.close()


def _page_text(page: Any) -> str:
    text_page = page.get_textpage()
    try:
        text: str = text_page.get_text_bounded()
    finally:
        text_page.close()
        page.close()
    return text.replace("\r\n", "\n").strip()
