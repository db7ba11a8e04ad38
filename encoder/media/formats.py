"""The formats of pictures, sound and films that are read: one line here adds one."""

from __future__ import annotations

import re
from typing import NamedTuple


class PictureFormat(NamedTuple):
    """A format of pictures.

    ``pillow`` is Pillow's name for it, and ``mark`` (a regular expression) matches its first
    bytes; for HEIC and AVIF `picture_brand` does. Unless ``may_be_text``, text that starts with the
    mark is only about it.
    """

    name: str
    pillow: str
    media_types: tuple[str, ...]
    mark: bytes = b""
    may_be_text: bool = False


PICTURES = (
    PictureFormat("JPEG", "JPEG", ("image/jpeg",), rb"\xff\xd8\xff"),
    PictureFormat("PNG", "PNG", ("image/png",), rb"\x89PNG\r\n\x1a\n"),
    PictureFormat("WebP", "WEBP", ("image/webp",), rb"RIFF....WEBP"),
    PictureFormat("GIF", "GIF", ("image/gif",), rb"GIF8[79]a"),
    PictureFormat(
        *("BMP", "BMP", ("image/bmp",)),
        rb"BM....(?:\0\0\0\0|....[\x0c\x28\x6c\x7c]\0\0\0)",
    ),
    PictureFormat("TIFF", "TIFF", ("image/tiff",), rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    PictureFormat("AVIF", "AVIF", ("image/avif",)),
    PictureFormat("HEIC", "HEIF", ("image/heic", "image/heif")),
    PictureFormat("ICO", "ICO", ("image/x-icon",), rb"\0\0\x01\0[^\0]\0"),
    PictureFormat("Windows cursors (.cur)", "CUR", ("image/x-win-cursor",), rb"\0\0\x02\0[^\0]\0"),
    PictureFormat("JPEG 2000", "JPEG2000", ("image/jp2",), rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n"),
    PictureFormat("Photoshop (.psd)", "PSD", ("image/vnd.adobe.photoshop",), rb"8BPS\0\x01"),
    PictureFormat("Apple icons (.icns)", "ICNS", ("image/icns",), rb"icns\0"),
    PictureFormat("DDS", "DDS", ("image/x-dds",), rb"DDS \x7c\0\0\0"),
    PictureFormat("BLP", "BLP", ("image/x-blp",), rb"BLP[12].\0"),
    PictureFormat("QOI", "QOI", ("image/qoi",), rb"qoif\0"),
    PictureFormat("PCX", "PCX", ("image/x-pcx",), rb"\n[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]"),
    PictureFormat("DCX", "DCX", ("image/x-dcx",), rb"\xb1\x68\xde\x3a"),
    PictureFormat("Photo CD", "PCD", ("image/x-photo-cd",), rb".{2048}PCD_"),
    PictureFormat(
        *("Bitmaps without a header (.dib)", "DIB", ("image/x-dib",)),
        rb"\x28\0\0\0.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0",
    ),
    PictureFormat("SGI", "SGI", ("image/sgi",), rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]"),
    PictureFormat("Sun raster", "SUN", ("image/x-sun-raster",), rb"\x59\xa6\x6a\x95"),
    PictureFormat(
        *("PBM, PGM, PPM", "PPM", ("image/x-portable-anymap",)),
        rb"P[1-6]\s(?:\s|#[^\n]*\n)*+\d+(?:\s|#[^\n]*\n)++\d+\s|P[Ff]\n\d+ \d+\n",
        may_be_text=True,
    ),
    PictureFormat("XPM", "XPM", ("image/xpm",), rb"/\* XPM \*/", may_be_text=True),
    PictureFormat(
        *("XBM", "XBM", ("image/xbm",)),
        rb"\s*+(?>/\*.*?\*/\s*)?#define\s+\w+_width\s+\d+\s+#define\s+\w+_height\s+\d+\s",
        may_be_text=True,
    ),
    # Its header has no mark, but only few values make sense; so it comes last.
    PictureFormat(
        *("TGA", "TGA", ("image/x-tga",)),
        rb".(?:\0[\x02\x03\x0a\x0b]\0{4}[\0\x18\x20]|\x01[\x01\x02\x09\x0a]...[\0\x01][\x0f\x10\x18\x20])"
        rb"....(?!\0\0)..(?!\0\0)..[\x08\x0f\x10\x18\x20][\0-\x3f]",
    ),
)


class ContainerFormat(NamedTuple):
    """A container of sound, moving pictures or both.

    ``demuxers`` are FFmpeg's names for it, and ``mark`` (a regular expression) matches its first
    bytes.
    """

    name: str
    media_type: str
    demuxers: str
    mark: bytes


_BITRATE_AND_RATE = b"[%s]" % b"".join(
    re.escape(bytes([n])) for n in range(0xF0) if n >> 2 & 3 != 3
)
"""The third byte of a frame of MP3: 15 is no bit rate, and 3 no sampling rate."""

CONTAINERS = (
    ContainerFormat("WAV", "audio/wav", "wav,w64", rb"(?:RIFF|RF64)....WAVE|riff\x2e\x91\xcf\x11"),
    ContainerFormat("FLAC", "audio/flac", "flac", rb"fLaC"),
    ContainerFormat("MP3", "audio/mpeg", "mp3", rb"ID3[\x02-\x04]"),
    ContainerFormat("Ogg", "audio/ogg", "ogg", rb"OggS\0"),
    ContainerFormat("AIFF", "audio/aiff", "aiff", rb"FORM....AIF[FC]"),
    ContainerFormat("AU", "audio/basic", "au", rb"\.snd"),
    ContainerFormat("CAF", "audio/x-caf", "caf", rb"caff\0\x01"),
    ContainerFormat("AMR", "audio/amr", "amr", rb"#!AMR"),
    ContainerFormat("Monkey's Audio", "audio/x-ape", "ape", rb"MAC .\x0f"),
    ContainerFormat("WavPack", "audio/x-wavpack", "wv", rb"wvpk"),
    ContainerFormat("TTA", "audio/x-tta", "tta", rb"TTA1"),
    ContainerFormat("Musepack", "audio/x-musepack", "mpc,mpc8", rb"MP\+|MPCK"),
    ContainerFormat("TAK", "audio/x-tak", "tak", rb"tBaK"),
    ContainerFormat("DSD", "audio/x-dsf", "dsf,iff", rb"DSD \x1c\0|FRM8.{8}DSD "),
    ContainerFormat("AC-3", "audio/ac3", "ac3,eac3", rb"\x0b\x77"),
    ContainerFormat("WebM", "video/webm", "matroska,webm", rb"\x1aE\xdf\xa3.{1,40}\x42\x82.webm"),
    ContainerFormat("Matroska", "video/x-matroska", "matroska,webm", rb"\x1aE\xdf\xa3"),
    ContainerFormat("AVI", "video/avi", "avi", rb"RIFF....AVI "),
    ContainerFormat("FLV", "video/x-flv", "flv", rb"FLV\x01"),
    ContainerFormat("WMV", "video/x-ms-asf", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ContainerFormat("RealMedia", "video/x-pn-realvideo", "rm", rb"\.RMF\0|\.ra\xfd"),
    ContainerFormat("MXF", "video/mxf", "mxf", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),
    ContainerFormat("DV", "video/x-dv", "dv", rb"\x1f\x07\0[\x3f\xbf]"),
    ContainerFormat("FLIC", "video/x-flic", "flic", rb"....[\x11\x12]\xaf"),
    ContainerFormat("3GP", "video/3gpp", "mov,mp4,m4a,3gp,3g2,mj2", rb"....ftyp3g"),
    ContainerFormat(
        *("MOV", "video/quicktime", "mov,mp4,m4a,3gp,3g2,mj2"),
        rb"....(?:ftypqt  |moov|mdat|wide|pnot|free|skip)",
    ),
    ContainerFormat("MP4", "video/mp4", "mov,mp4,m4a,3gp,3g2,mj2", rb"....ftyp"),
    # Packets of 188 bytes; those of cameras (.mts) have a time of four bytes before each.
    ContainerFormat("MPEG-TS", "video/mp2t", "mpegts", rb"G(?:.{187}G){2}|....G(?:.{191}G){2}"),
    ContainerFormat("MPEG", "video/mpeg", "mpeg,mpegvideo", rb"\0\0\x01[\xb3\xba]"),
    # Frames of these start with a bit pattern. Their layer is 0 in AAC alone.
    ContainerFormat("AAC", "audio/aac", "aac", rb"\xff[\xf0\xf1\xf8\xf9]|ADIF"),
    ContainerFormat(
        # Some begin with silence of zeros.
        "MP3",
        "audio/mpeg",
        "mp3",
        rb"(?:\0{16,}+)?\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]" + _BITRATE_AND_RATE,
    ),
)

DEMUXERS = ",".join(
    dict.fromkeys(name for container in CONTAINERS for name in container.demuxers.split(","))
)
"""What FFmpeg may open. Playlists (hls, concat, dash) make it open other files and URLs."""

CONTAINER_TYPES = frozenset(container.media_type for container in CONTAINERS)
"""Media types of containers that can hold sound, moving pictures or both."""

_MARKS = tuple(
    (re.compile(picture.mark, re.DOTALL), picture.media_types[0], picture.may_be_text)
    for picture in PICTURES
    if picture.mark
)
_CONTAINER_MARKS = tuple(
    (re.compile(container.mark, re.DOTALL), container.media_type) for container in CONTAINERS
)

PILLOW_FORMATS = tuple(picture.pillow for picture in PICTURES)
"""What Pillow may open. It knows more, some of which start other programs (EPS: Ghostscript)."""

IMAGE_TYPES = frozenset(media_type for picture in PICTURES for media_type in picture.media_types)
"""The media types of pictures that are read."""


def marked(head: bytes, *, is_text: bool) -> str:
    """The media type of a picture by its mark; empty if it has none.

    >>> marked(b"P6\\n# made by hand\\n3 2\\n255\\n", is_text=True)
    'image/x-portable-anymap'
    >>> marked(b"GIF89a is a format.", is_text=True)
    ''
    """
    positions = (
        type_ for mark, type_, may_be_text in _MARKS if may_be_text >= is_text and mark.match(head)
    )
    return next(positions, "")


def marked_container(head: bytes) -> str:
    """The media type of a container by its mark; empty if it has none.

    >>> marked_container(b"#!AMR\\n<\\x91")
    'audio/amr'
    """
    return next((type_ for mark, type_ in _CONTAINER_MARKS if mark.match(head)), "")


def is_sequence(media_type: str) -> bool:
    """Whether a film is a sequence of pictures, which many would call a moving picture.

    >>> is_sequence("video/avif"), is_sequence("video/mp4")
    (True, False)
    """
    family, _, subtype = media_type.partition("/")
    return family == "video" and f"image/{subtype}" in IMAGE_TYPES


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
