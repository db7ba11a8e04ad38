"""The formats of pictures that are read: one line here adds one."""

from __future__ import annotations

from typing import NamedTuple


class PictureFormat(NamedTuple):
    """``pillow`` is Pillow's name for it; without ``media_types`` it is not told by its bytes."""

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
