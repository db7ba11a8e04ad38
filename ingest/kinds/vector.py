"""SVG: the picture that it draws, and its words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, fromstring, tostring

from encoder.errors import CorruptMediaError
from encoder.media.image import load_image
from encoder.media.source import decoding
from encoder.types import IMAGE
from ingest.config import IngestConfig
from ingest.kinds.charset import read_bytes
from ingest.kinds.contract import Cost, Kind, Place
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_NAMESPACE = "{http://www.w3.org/2000/svg}"
# What precedes it is matched without backtracking: comments with several ends would take
# exponential time.
_BEGINNING = re.compile(
    rb"(?><\?.*?\?>|<!--.*?-->|<!DOCTYPE\s[^\[>]*(\[.*?\]\s*+)?>|\s)*+<(\w+:)?svg[\s>]", re.DOTALL
)
_WORDS = ("title", "desc", "text")
# A picture in it may be embedded in the file; anything elsewhere is neither read nor fetched.
_INSIDE = re.compile(r"#|data:image/(png|jpe?g|gif|webp)[;,]", re.IGNORECASE)
_LENGTH = re.compile(r"\s*([\d.]+)\s*(px|pt|mm|cm|in|)\s*$")
_PX = {"": 1.0, "px": 1.0, "pt": 4 / 3, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_USUAL_PX = 100.0
_LONGEST = 8
"""The longer side is drawn at most this many times as long as the shorter one."""


class Svg(Kind):
    """Drawings, without scripts and without external references."""

    name = "svg"
    modality = IMAGE
    formats = ("SVG",)
    media_types = frozenset({"image/svg+xml"})
    suffixes = (".svg",)
    cost: ClassVar[Cost] = "image"
    max_bytes = "max_document_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        beginning = head.is_text and _BEGINNING.match(head.start)
        return Match("image/svg+xml", 0.85) if beginning else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title (its own, else the file's stem), width and height in pixels."""
        root = _root(path)
        width, height = _size(root)
        title = " ".join((root.findtext(f"{_NAMESPACE}title") or "").split())[:200]
        return {"title": title or path.stem, "width": round(width), "height": round(height)}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """The picture, then its title, description and labels."""
        root = _root(path)
        yield Segment(asset.asset_id, IMAGE, 0, _drawn(path, root, config))
        if words := _words(root):
            yield from text_segments(asset, path, [Section(words)], config)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        return Segment(asset.asset_id, IMAGE, 0, _drawn(path, _root(path), config))


def _root(path: Path) -> Element:
    # Python's expat neither fetches external entities nor lets internal ones grow without end.
    with decoding(path, "SVG"):
        root = fromstring(read_bytes(path))
    if root.tag != f"{_NAMESPACE}svg" and root.tag != "svg":
        raise CorruptMediaError(
            f"{path} is not an SVG but {root.tag!r}.", remedy="Export it again."
        )
    return root


def _drawn(path: Path, root: Element, config: IngestConfig) -> Any:
    """uint8 RGB [height, width, 3] over white, its shorter side `image_short_side`."""
    from resvg_py import svg_to_bytes

    for element in root.iter():
        for name, value in list(element.attrib.items()):
            if name.rpartition("}")[2] == "href" and not _INSIDE.match(value.strip()):
                del element.attrib[name]
    width, height = _size(root)
    short = config.image_short_side
    scale = short / min(width, height)
    size = [max(1, round(min(side * scale, short * _LONGEST))) for side in (width, height)]
    labelled = root.find(f".//{_NAMESPACE}text") is not None
    with decoding(path, "SVG"):
        png = svg_to_bytes(
            svg_string=tostring(root, "unicode"),
            width=size[0],
            height=size[1],
            background="#ffffff",
            dpi=96,
            skip_system_fonts=not labelled,  # looking for fonts takes longer than drawing
        )
    return load_image(png, short, config.max_pixels)


def _size(root: Element) -> tuple[float, float]:
    """Width and height in pixels, at least one."""
    box = [float(v) for v in re.findall(r"-?[\d.]+(?:e-?\d+)?", root.get("viewBox", ""))[2:4]]
    natural = box if len(box) == 2 and min(box) > 0 else [_USUAL_PX, _USUAL_PX]
    sides = [_pixels(root.get(name, "")) for name in ("width", "height")]
    if not all(sides):
        scale = next((s / n for s, n in zip(sides, natural, strict=True) if s), 1.0)
        sides = [side * scale for side in natural]
    return max(1.0, sides[0]), max(1.0, sides[1])


def _pixels(length: str) -> float:
    match = _LENGTH.match(length)
    return float(match[1]) * _PX[match[2]] if match else 0.0


def _words(root: Element) -> str:
    texts = (
        " ".join("".join(element.itertext()).split())
        for element in root.iter()
        if str(element.tag).rpartition("}")[2] in _WORDS
    )
    return "\n".join(dict.fromkeys(line for line in texts if line))
