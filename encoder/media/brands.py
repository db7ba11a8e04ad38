"""The kind of an ISO media file (the family of HEIC, AVIF and MP4), by its brands."""

from __future__ import annotations

_PICTURES = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis"), "image/heic"),
    **dict.fromkeys((b"avif",), "image/avif"),
    **dict.fromkeys((b"mif1", b"mif2"), "image/heif"),
}
_SEQUENCES = {
    **dict.fromkeys((b"hevc", b"hevx", b"hevm", b"hevs"), "image/heic"),
    **dict.fromkeys((b"avis",), "image/avif"),
    **dict.fromkeys((b"msf1",), "image/heif"),
}
_GENERAL = "image/heif"


def picture_brand(head: bytes) -> tuple[str, bool] | None:
    """The media type of a picture, and whether it may be a sequence; None for all other files.

    The first brand says how the file is meant: a Live Photo's video may name ``heic`` further down.
    General brands do not say how pixels are packed; the compatible brands do.

    >>> picture_brand(b"\\0\\0\\0\\x18ftypmif1\\0\\0\\0\\0mif1heic")
    ('image/heic', False)
    """
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, compatible = head[8:12], [head[at : at + 4] for at in range(16, end - 3, 4)]
    kinds = {**_PICTURES, **_SEQUENCES}
    if major not in kinds:
        return None
    brands = [kinds[brand] for brand in (major, *compatible) if brand in kinds]
    media_type = next((brand for brand in brands if brand != _GENERAL), _GENERAL)
    return media_type, major in _SEQUENCES
