"""The formats of pictures that are read: one line here adds one."""

from __future__ import annotations

from typing import NamedTuple


class PictureFormat(NamedTuple):
    """``pillow`` is Pillow's name for it; without ``media_types`` its bytes do not identify it."""

    name: str
    pillow: str
    media_types: tuple[str, ...] = ()


PICTURES = (
    PictureFormat("JPEG", "JPEG", ("image/jpeg",)),
    PictureFormat("PNG", "PNG", ("image/png",)),
    PictureFormat("WebP", "WEBP", ("image/webp",)),
    PictureFormat("GIF", "GIF", ("image/gif",)),
    PictureFormat("BMP", "BMP", ("image/bmp",)),
    PictureFormat("TIFF", "TIFF", ("image/tiff",)),
    PictureFormat("AVIF", "AVIF", ("image/avif",)),
    PictureFormat("HEIC", "HEIF", ("image/heic", "image/heif")),
    PictureFormat("PPM", "PPM"),
    PictureFormat("ICO", "ICO", ("image/x-icon",)),
)

PILLOW_FORMATS = tuple(picture.pillow for picture in PICTURES)
"""What Pillow may open. It knows more, some of which start other programs (EPS: Ghostscript)."""

IMAGE_TYPES = frozenset(media_type for picture in PICTURES for media_type in picture.media_types)
"""The media types of pictures that are read."""


def is_sequence(media_type: str) -> bool:
    """Whether a film is a sequence of pictures, which many would call a picture that moves.

    >>> is_sequence("video/avif"), is_sequence("video/mp4")
    (True, False)
    """
    family, _, subtype = media_type.partition("/")
    return family == "video" and f"image/{subtype}" in IMAGE_TYPES
