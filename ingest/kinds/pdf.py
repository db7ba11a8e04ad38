"""PDF, page by page: its text with boxes, and pictures of pages that have none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from encoder.errors import CorruptMediaError, UnsupportedMediaError
from encoder.media.source import decoding, opened
from encoder.types import IMAGE, TEXT, RgbPicture
from ingest.config import IngestConfig, check
from ingest.kinds.contract import Kind, Place
from ingest.kinds.documents import LEAST_PX, title_of
from ingest.kinds.head import Head, Match
from ingest.kinds.pdf_text import PageText, read_page
from ingest.kinds.windows import Section, no_text, text_segments
from ingest.types import Asset, Fact, Segment

# PDFium must not be called by two threads at once.
_pdfium = Lock()
_MAX_LINES = 60
"""The most boxes kept for a window; a text in columns of single words has more."""

_IMAGE_OBJECT = 3  # FPDF_PAGEOBJ_IMAGE
_LEAST_SHARE, _MOST_SHARE = 0.02, 0.85
"""The share of a page that a picture covers: less is an icon, more is the scan behind the text."""


class Pdf(Kind):
    """Documents of pages, whose signature need not come first."""

    name = "pdf"
    modality = TEXT
    formats = ("PDF",)
    media_types = frozenset({"application/pdf"})
    suffixes = (".pdf",)
    shows = True

    def sniff(self, head: Head) -> Match | None:
        return Match("application/pdf", 1.0) if b"%PDF-" in head.data[:1024] else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the one in the document, if that says something, else the file's stem."""
        with _document(path) as document, _pdfium:
            title, n_pages = document.get_metadata_value("Title"), len(document)
        check(str(path), "max_pdf_pages", n_pages, config)
        return {"title": title_of(title, path.stem), "n_pages": n_pages}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of each page's text, or a picture of the page if it has none, as in a scan."""
        indices = {TEXT: count(), IMAGE: count()}
        at, n_segments = 0, 0
        with _document(path) as document:
            for number in range(1, len(document) + 1):
                n_chars, page_segments = _page(asset, path, document, number, config)
                for segment in page_segments:
                    index = next(indices[segment.modality])
                    yield _placed(segment, index, at)
                at, n_segments = at + n_chars, n_segments + len(page_segments)
                check(str(path), "max_text_chars", at, config)
        if not n_segments:
            raise no_text(path)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:
        with _document(path) as document:
            if not 1 <= place.page <= len(document):
                raise CorruptMediaError(
                    f"{path} has no page {place.page}.", remedy=f"The last page is {len(document)}."
                )
            with _pdfium, decoding(path, "PDF"):
                rgb = _rendered(document[place.page - 1], config)
        return Segment(asset.asset_id, IMAGE, 0, rgb, place=json.dumps({"page": place.page}))


def first_page(data: bytes, config: IngestConfig) -> RgbPicture:
    """What the first page of a PDF looks like, uint8 [height, width, 3].

    Raises:
        MediaError: it cannot be decoded.
    """
    from pypdfium2 import PdfDocument

    with _pdfium, decoding(data, "PDF"), closing(PdfDocument(data)) as document:
        return _rendered(document[0], config)


def _page(
    asset: Asset, path: Path, document: Any, number: int, config: IngestConfig
) -> tuple[int, Sequence[Segment]]:
    """How many characters a page has, and its segments, counted within the page."""
    with _pdfium, decoding(path, "PDF"):
        page = document[number - 1]
        text_page = page.get_textpage()
        text = read_page(text_page)
        is_scan = not str(text).strip() and next(page.get_objects(max_depth=1), None) is not None
        if _has_typed_text(page):
            text_page.close()
            page = _flattened(document, page, number)
            text_page = page.get_textpage()
            text = read_page(text_page)
        has_text = bool(str(text).strip())
        windows = _windows(asset, path, text_page, text, number, config) if has_text else []
        if is_scan:
            place = json.dumps({"page": number})
            pictures = [Segment(asset.asset_id, IMAGE, 0, _rendered(page, config), place=place)]
        else:
            pictures = list(_figures(asset, page, number, config)) if windows else []
        text_page.close()
        page.close()
    return len(str(text)), [*windows, *pictures]


def _has_typed_text(page: Any) -> bool:
    """Whether it has form fields, or text that somebody typed over it, beside its own content."""
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        subtype = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if subtype in (raw.FPDF_ANNOT_WIDGET, raw.FPDF_ANNOT_FREETEXT):
            return True
    return False


def _flattened(document: Any, page: Any, number: int) -> Any:
    """The page with the values and choices of its fields as part of its content, in memory."""
    from pypdfium2 import raw

    raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
    page.close()
    return document[number - 1]


def _placed(segment: Segment, index: int, at: int) -> Segment:
    """A segment of a page as one of the document, whose text has ``at`` characters before it."""
    if segment.char_start is None or segment.char_end is None:
        return replace(segment, index=index)
    start, end = at + segment.char_start, at + segment.char_end
    return replace(segment, index=index, char_start=start, char_end=end)


def _windows(
    asset: Asset, path: Path, text_page: Any, text: PageText, number: int, config: IngestConfig
) -> list[Segment]:
    sections = [Section(str(text), {"page": number})]
    width, height = text_page.page.get_size()
    return [
        replace(segment, boxes=_boxes(text_page, text, segment, width, height))
        for segment in text_segments(asset, path, sections, config)
    ]


def _boxes(text_page: Any, text: PageText, segment: Segment, width: float, height: float) -> str:
    """Corners of the window's lines, as fractions of the page; see `Segment`."""
    boxes = []
    rects = text.rects(text_page, segment.char_start or 0, segment.char_end or 0)
    for left, bottom, right, top in islice(rects, _MAX_LINES):
        boxes.append(_corners(left / width, bottom / height, right / width, top / height))
    return json.dumps(boxes) if boxes else ""


def _figures(asset: Asset, page: Any, number: int, config: IngestConfig) -> Iterator[Segment]:
    """Pictures on a page with text, except icons and the scan behind the text."""
    from encoder.media.image import rgb_array

    width, height = page.get_size()
    n_found = 0
    for image in page.get_objects(filter=[_IMAGE_OBJECT], max_depth=2):
        left, bottom, right, top = image.get_bounds()
        share = (right - left) * (top - bottom) / (width * height)
        columns, rows = image.get_px_size()
        if min(columns, rows) < LEAST_PX or columns * rows > config.max_pixels:
            continue
        if not _LEAST_SHARE < share < _MOST_SHARE:
            continue
        n_found += 1
        check(asset.uri, "max_frames", n_found, config)
        box = _corners(left / width, bottom / height, right / width, top / height)
        picture = image.get_bitmap(render=True).to_pil()
        rgb = rgb_array(picture, config.image_short_side)
        place = json.dumps({"page": number, "picture": n_found})
        yield Segment(asset.asset_id, IMAGE, 0, rgb, boxes=json.dumps([box]), place=place)


def _corners(left: float, bottom: float, right: float, top: float) -> list[float]:
    """The corners of a box from the upper left on; up is more, but less in the result."""
    top, bottom = 1 - top, 1 - bottom
    corners = (left, top, right, top, right, bottom, left, bottom)
    return [round(min(max(float(value), 0.0), 1.0), 4) for value in corners]


def _rendered(page: Any, config: IngestConfig) -> RgbPicture:
    """The page with a shorter side of `image_short_side`; long ones stay within `max_pixels`."""
    width, height = page.get_size()
    scale = config.image_short_side / min(width, height)
    scale = min(scale, (config.max_pixels / (width * height)) ** 0.5)
    bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False)
    rgb: RgbPicture = np.array(bitmap.to_numpy()[..., :3], np.uint8)
    bitmap.close()
    return rgb


@contextmanager
def _document(path: Path) -> Iterator[Any]:
    from pypdfium2 import PdfDocument

    with opened(path) as file, decoding(path, "PDF"):
        with _pdfium:
            document = _unlocked(PdfDocument, file, path)
            document.init_forms()  # else fields without an appearance of their own stay empty
        try:
            yield document
        finally:
            with _pdfium:
                document.close()


def _unlocked(open_document: Callable[[Any], Any], file: Any, path: Path) -> Any:
    try:
        return open_document(file)
    except Exception as error:
        if "password" not in str(error).lower():
            raise
        raise UnsupportedMediaError(
            f"{path} is an encrypted PDF.",
            remedy="Save it without a password, for example with qpdf.",
        ) from error
