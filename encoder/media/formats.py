"""The formats of pictures that are read: one line here adds one."""

from __future__ import annotations

import re
from typing import NamedTuple


class PictureFormat(NamedTuple):
    """``pillow`` is Pillow's name for it. ``mark`` (a regular expression) matches its first bytes,
    where `puremagic` does not know them or takes them for text."""

    name: str
    pillow: str
    media_types: tuple[str, ...]
    mark: bytes = b""


PICTURES = (
    PictureFormat("JPEG", "JPEG", ("image/jpeg",)),
    PictureFormat("PNG", "PNG", ("image/png",)),
    PictureFormat("WebP", "WEBP", ("image/webp",)),
    PictureFormat("GIF", "GIF", ("image/gif",)),
    PictureFormat("BMP", "BMP", ("image/bmp",)),
    PictureFormat("TIFF", "TIFF", ("image/tiff",)),
    PictureFormat("AVIF", "AVIF", ("image/avif",)),
    PictureFormat("HEIC", "HEIF", ("image/heic", "image/heif")),
    PictureFormat("ICO", "ICO", ("image/x-icon",)),
    PictureFormat("JPEG 2000", "JPEG2000", ("image/jp2",), rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n"),
    PictureFormat("Photoshop (.psd)", "PSD", ("image/vnd.adobe.photoshop",), rb"8BPS\0\x01"),
    PictureFormat("Apple icons (.icns)", "ICNS", ("image/icns",), rb"icns\0"),
    PictureFormat("DDS", "DDS", ("image/x-dds",), rb"DDS \x7c\0\0\0"),
    PictureFormat("QOI", "QOI", ("image/qoi",), rb"qoif\0"),
    PictureFormat("PCX", "PCX", ("image/x-pcx",), rb"\n[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]"),
    PictureFormat("SGI", "SGI", ("image/sgi",), rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
    PictureFormat("Sun raster", "SUN", ("image/x-sun-raster",), rb"\x59\xa6\x6a\x95"),
    PictureFormat(
        *("PBM, PGM, PPM", "PPM", ("image/x-portable-anymap",)),
        rb"P[1-6]\s(?:\s|#[^\n]*\n)*+\d+(?:\s|#[^\n]*\n)++\d+\s",
    ),
    PictureFormat("XPM", "XPM", ("image/xpm",), rb"/\* XPM \*/"),
    PictureFormat(
        *("XBM", "XBM", ("image/xbm",)),
        rb"\s*+(?>/\*.*?\*/\s*)?#define\s+\w+_width\s+\d+\s+#define\s+\w+_height\s+\d+\s",
    ),
)

_MARKS = tuple(
    (re.compile(one.mark, re.DOTALL), one.media_types[0]) for one in PICTURES if one.mark
)

PILLOW_FORMATS = tuple(picture.pillow for picture in PICTURES)
"""What Pillow may open. It knows more, some of which start other programs (EPS: Ghostscript)."""

IMAGE_TYPES = frozenset(media_type for picture in PICTURES for media_type in picture.media_types)
"""The media types of pictures that are read."""


def marked(head: bytes) -> str:
    """The media type of a picture by its mark; empty if it has none.

    >>> marked(b"P6\\n# made by hand\\n3 2\\n255\\n"), marked(b"P6 is a processor.")
    ('image/x-portable-anymap', '')
    """
    return next((media_type for mark, media_type in _MARKS if mark.match(head)), "")


def is_sequence(media_type: str) -> bool:
    """Whether a film is a sequence of pictures, which many would call a moving picture.

    >>> is_sequence("video/avif"), is_sequence("video/mp4")
    (True, False)
    """
    family, _, subtype = media_type.partition("/")
    return family == "video" and f"image/{subtype}" in IMAGE_TYPES
