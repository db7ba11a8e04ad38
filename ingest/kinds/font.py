"""Fonts: found by their name, shown by a line of each sort of character."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from encoder.media.source import decoding
from encoder.types import IMAGE, TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import read_bytes
from ingest.kinds.contract import Kind, Place
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_MARKS = {
    b"\0\1\0\0\0": "font/ttf",
    b"OTTO\0": "font/otf",
    b"ttcf\0": "font/collection",
    b"wOFF": "font/woff",
    b"wOF2": "font/woff2",
}
_SAMPLE = "AaBbCcDdEeFfGgHh\nIiJjKkLlMmNnOoPp\nQqRrSsTtUuVvWw\nXxYyZz 0123456789"
_SIZE_PX = 48
_MARGIN_PX = 24


class Font(Kind):
    """Outlines of letters. Of a collection only the first font counts."""

    name = "font"
    label = "Font"
    icon = "M5 19 11 5h2l6 14M8 13h8M3 19h4m10 0h4"
    modality = TEXT
    formats = ("fonts (.ttf, .otf, .woff)",)
    media_types = frozenset(_MARKS.values())
    suffixes = (".ttf", ".otf", ".ttc", ".woff", ".woff2")
    max_bytes: ClassVar[str] = "max_document_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        types = (type_ for mark, type_ in _MARKS.items() if head.data.startswith(mark))
        return next((Match(type_) for type_ in types), None)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        return {"title": _named(_opened(path)) or path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        section = Section(f"{asset.metadata['title']}\n{path.suffix.lstrip('.')} font")
        yield from text_segments(asset, path, [section], config)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        """Letters and digits; a box for each character that it lacks."""
        from PIL import Image, ImageDraw

        font = _opened(path)
        with decoding(path, "a font"):
            drawing = ImageDraw.Draw(Image.new("RGB", (1, 1)))
            _, _, *corner = drawing.multiline_textbbox((0, 0), _SAMPLE, font)
            # A font chooses how large its letters are.
            width, height = (min(2_000, max(64, int(at) + 2 * _MARGIN_PX)) for at in corner)
            page = Image.new("RGB", (width, height), "white")
            at = (_MARGIN_PX, _MARGIN_PX)
            ImageDraw.Draw(page).multiline_text(at, _SAMPLE, "black", font)
        return Segment(asset.asset_id, IMAGE, 0, np.asarray(page))


def _opened(path: Path) -> FreeTypeFont:
    from PIL import ImageFont

    data = io.BytesIO(read_bytes(path))
    with decoding(path, "a font"):
        return ImageFont.truetype(data, _SIZE_PX, layout_engine=ImageFont.Layout.BASIC)


def _named(font: FreeTypeFont) -> str:
    return " ".join(" ".join(name or "" for name in font.getname()).split())
