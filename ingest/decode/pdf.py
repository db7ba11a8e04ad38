"""PDF to text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from encoder.media.source import decoding, opened

# PDFium must not be called by two threads at once.
_pdfium = Lock()


def pdf_text(path: Path, max_chars: int) -> str:
    """The text of all pages, joined by blank lines; it ends early soon after ``max_chars``."""
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
    """The title in the document's properties, or nothing; and how many pages it has."""
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
