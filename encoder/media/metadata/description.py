"""What people wrote into a photo: XMP and IPTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from PIL.ImageFile import ImageFile

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_XMP = "{http://ns.adobe.com/xap/1.0/}"
_EXIF = "{http://ns.adobe.com/exif/1.0/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_IPTC_TITLE, _IPTC_KEYWORDS, _IPTC_DATE, _IPTC_TIME, _IPTC_CAPTION = (
    (2, number) for number in (5, 25, 55, 60, 120)
)
_MAX_XMP_BYTES = 1_000_000
_MAX_TAGS, _MAX_CHARS, _MAX_CAPTION_CHARS = 100, 200, 4_000
# 48,8.22N or 48,8,13.2N
_DEGREES = re.compile(r"(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])")
_UTF8_MARK = b"\x1b%G"


@dataclass(frozen=True)
class MediaDescription:
    """What is written in a photo; empty or None where nothing is.

    ``rating`` is 1 to 5, ``taken`` a date and time as text, ``latitude`` and ``longitude`` degrees.
    """

    title: str = ""
    caption: str = ""
    tags: Sequence[str] = ()
    rating: float | None = None
    taken: str = ""
    latitude: float | None = None
    longitude: float | None = None

    def as_metadata(self) -> dict[str, str | float | list[str]]:
        """The title, caption, tags and rating, as far as they are known."""
        metadata: dict[str, str | float | list[str]] = {}
        for name in ("title", "caption", "rating"):
            if value := getattr(self, name):
                metadata[name] = value
        return metadata | ({"tags": list(self.tags)} if self.tags else {})


NOT_DESCRIBED = MediaDescription()


def description_of(image: ImageFile) -> MediaDescription:
    """The description in an opened picture: XMP, then IPTC; damaged parts count as not written."""
    xmp, iptc = _xmp(image.info.get("xmp")), _iptc(image)
    if xmp is None:
        return iptc
    return MediaDescription(
        title=xmp.title or iptc.title,
        caption=xmp.caption or iptc.caption,
        tags=_tags([*xmp.tags, *iptc.tags]),
        rating=xmp.rating,
        taken=xmp.taken or iptc.taken,
        latitude=xmp.latitude,
        longitude=xmp.longitude,
    )


def _xmp(packet: object) -> MediaDescription | None:
    """The description in an XMP packet. A document type is refused: it may hold entities."""
    data = packet.encode() if isinstance(packet, str) else packet
    if not isinstance(data, bytes) or len(data) > _MAX_XMP_BYTES or b"<!DOCTYPE" in data:
        return None
    try:
        root = ElementTree.fromstring(data.strip(b"\0 \n\r\t"))
    except (ElementTree.ParseError, ValueError):
        return None
    parts = list(root.iter(f"{_RDF}Description"))
    try:
        rating = float(_first(parts, f"{_XMP}Rating"))
    except ValueError:
        rating = 0.0
    return MediaDescription(
        title=_clean(_first(parts, f"{_DC}title"), _MAX_CHARS),
        caption=_clean(_first(parts, f"{_DC}description"), _MAX_CAPTION_CHARS),
        tags=_tags(_all(parts, f"{_DC}subject")),
        rating=rating if 0 < rating <= 5 else None,
        taken=_first(parts, f"{_EXIF}DateTimeOriginal")
        or _first(parts, f"{_PHOTOSHOP}DateCreated")
        or _first(parts, f"{_XMP}CreateDate"),
        latitude=_degrees(_first(parts, f"{_EXIF}GPSLatitude")),
        longitude=_degrees(_first(parts, f"{_EXIF}GPSLongitude")),
    )


def _all(parts: Sequence[Element], name: str) -> list[str]:
    """A property's values: an attribute, a text, or the items of a list in it."""
    values: list[str] = []
    for node in parts:
        if name in node.attrib:
            values.append(node.attrib[name])
        for element in node.findall(name):
            items = [item.text or "" for item in element.iter(f"{_RDF}li")]
            values += items or [element.text or ""]
    return values


def _first(parts: Sequence[Element], name: str) -> str:
    return next((value for value in _all(parts, name) if value.strip()), "")


def _iptc(image: ImageFile) -> MediaDescription:
    from PIL.IptcImagePlugin import getiptcinfo

    try:
        records: dict[tuple[int, int], Any] = dict(getiptcinfo(image) or {})
    except (ValueError, TypeError, KeyError, OSError, SyntaxError, IndexError, AttributeError):
        return NOT_DESCRIBED
    read = _decoder(records.get((1, 90)))

    def values(key: tuple[int, int]) -> list[str]:
        value = records.get(key, [])
        return [read(raw) for raw in (value if isinstance(value, list) else [value])]

    def first(key: tuple[int, int], max_chars: int) -> str:
        return _clean(next(iter(values(key)), ""), max_chars)

    day, time = first(_IPTC_DATE, 8), first(_IPTC_TIME, 6)
    return MediaDescription(
        first(_IPTC_TITLE, _MAX_CHARS),
        first(_IPTC_CAPTION, _MAX_CAPTION_CHARS),
        _tags(values(_IPTC_KEYWORDS)),
        None,
        f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}:{time[4:]}" if time and day else "",
    )


def _decoder(charset: object) -> Callable[[bytes], str]:
    """UTF-8 where it is announced or fits, else Latin-1."""

    def read(value: bytes) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("utf-8" if charset == _UTF8_MARK else "latin-1", "replace")

    return read


def _tags(words: Sequence[str]) -> tuple[str, ...]:
    cleaned = (_clean(word, _MAX_CHARS) for word in words)
    return tuple(dict.fromkeys(filter(None, cleaned)))[:_MAX_TAGS]


def _clean(text: str, max_chars: int) -> str:
    return " ".join(text.replace("\0", " ").split())[:max_chars]


def _degrees(text: str) -> float | None:
    degrees = _DEGREES.fullmatch(text.strip())
    if not degrees:
        return None
    value = int(degrees[1]) + float(degrees[2]) / 60 + float(degrees[3] or 0) / 3600
    max_degrees = 90 if degrees[4] in "NS" else 180
    return round(-value if degrees[4] in "SW" else value, 6) if value <= max_degrees else None
