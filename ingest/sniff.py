"""Tell the kind of a file by its first bytes, never by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from encoder.errors import CorruptMediaError, UnsupportedMediaError
from encoder.media.brands import picture_brand
from encoder.media.formats import IMAGE_TYPES, PICTURES
from encoder.types import AUDIO, IMAGE, TEXT, Modality

HEAD_BYTES = 8192
"""How much of a file `sniff` wants to see."""

_SUPPORTED = (
    "text, Markdown, HTML, PDF, "
    + ", ".join(picture.name for picture in PICTURES if picture.media_types)
    + ", WAV, FLAC, MP3, Ogg, Opus, AAC, M4A, AIFF, MP4, MOV, Matroska, WebM, AVI, MPEG"
)
_STREAMS = frozenset(
    {
        *(
            f"audio/{name}"
            for name in ("wav", "flac", "mpeg", "ogg", "aac", "mp4", "aiff", "basic")
        ),
        *(f"video/{name}" for name in ("mp4", "quicktime", "x-matroska", "webm", "ogg")),
        *(f"video/{name}" for name in ("avi", "mpeg", "mp2t", "x-flv", "x-ms-asf", "3gpp")),
    }
)
_SOUND_ONLY = "audio/wav"
"""The one container that has no place for pictures, so that nobody need look."""
_ALIASES = {
    "application/ogg": "audio/ogg",
    "application/x-matroska": "video/x-matroska",
    "audio/opus": "audio/ogg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-au": "audio/basic",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-wav": "audio/wav",
    "image/x-ms-bmp": "image/bmp",
    "video/3gpp2": "video/3gpp",
    "video/dvd": "video/mpeg",
    "video/x-msvideo": "video/avi",
}
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# The tags by which browsers tell HTML (WHATWG MIME Sniffing, 7.1), and a few more.
_HTML = re.compile(
    rb"(<!--.*?-->\s*|<\?xml[^>]*>\s*)*<(!doctype html|html|head|body|title|meta|link|style|script|"
    rb"iframe|main|section|article|div|h1|p|a|b|br|font|table)[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
# Readable bytes that are not meant to be read.
_NOT_PROSE = {
    b"{\\rtf": "application/rtf",
    b"%!PS": "application/postscript",
    b"<svg": "image/svg+xml",
    b"#EXTM3U": "application/vnd.apple.mpegurl",
}


@dataclass(frozen=True)
class Kind:
    """What the first bytes tell.

    Without ``modality`` the header knows: sound or video, or a picture or a sequence of them.
    """

    media_type: str
    modality: Modality | None


def sniff(head: bytes, uri: str) -> Kind:
    """Tell the kind of a file.

    Args:
        head: its first `HEAD_BYTES` bytes.
        uri: its name, for messages only.

    Raises:
        CorruptMediaError: it is empty.
        UnsupportedMediaError: of no kind that is read here.
    """
    if not head:
        raise CorruptMediaError(f"{uri} is empty (0 bytes).", remedy="Fetch or export it again.")
    if b"%PDF-" in head[:1024]:
        return Kind("application/pdf", TEXT)
    # Text goes first: "BMW" and "ID3 tags" start like a bitmap and a song. Media hold zero bytes.
    if _is_text(head):
        return _text_kind(head, uri)
    if brand := picture_brand(head):
        media_type, may_move = brand
        return Kind(media_type, None if may_move else IMAGE)
    signatures = _mpeg_signatures(head) + _signatures(head)
    for media_type in signatures:
        if media_type in IMAGE_TYPES:
            return Kind(media_type, IMAGE)
        if media_type in _STREAMS:
            return Kind(media_type, AUDIO if media_type == _SOUND_ONLY else None)
    raise _unsupported(uri, signatures[0] if signatures else "not known")


def _is_text(head: bytes) -> bool:
    if head.startswith(_UTF16):
        return "\x00" not in head[: len(head) // 2 * 2].decode("utf-16", errors="ignore")
    return not _CONTROL.search(head)


def _text_kind(head: bytes, uri: str) -> Kind:
    # UTF-16 without its zeros and marks is ASCII enough to find a tag.
    start = head.replace(b"\x00", b"").removeprefix(_UTF8_BOM).lstrip(b"\xff\xfe \t\r\n")
    for prefix, media_type in _NOT_PROSE.items():
        if start.startswith(prefix):
            raise _unsupported(uri, media_type)
    if _HTML.match(start):
        return Kind("text/html", TEXT)
    # Markdown is text that only its author calls Markdown: here the name may speak.
    is_markdown = uri.lower().endswith((".md", ".markdown"))
    return Kind("text/markdown" if is_markdown else "text/plain", TEXT)


def _mpeg_signatures(head: bytes) -> list[str]:
    """MPEG streams, whose frames start with a bit pattern and not with one magic number."""
    if head[:565:188] == b"GGGG"[: len(head[:565:188])] and len(head) > 376:
        return ["video/mp2t"]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return []
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if layer == 0 and version >= 2:
        return ["audio/aac"]
    valid = version != 1 and layer != 0 and bitrate != 15 and rate != 3
    return ["audio/mpeg"] if valid else []


def _signatures(head: bytes) -> list[str]:
    """Media types whose magic numbers match, the longest number first.

    Numbers of two bytes match much by chance; of what is read here only bitmaps need one.
    """
    import puremagic

    try:
        matches = puremagic.magic_string(head)
    except puremagic.PureError:
        return []
    matches.sort(key=lambda match: len(match.byte_match), reverse=True)
    sure = (m for m in matches if len(m.byte_match) > 2 or m.byte_match == b"BM")
    return [_ALIASES.get(m.mime_type, m.mime_type) for m in sure if m.mime_type]


def _unsupported(uri: str, media_type: str) -> UnsupportedMediaError:
    return UnsupportedMediaError(
        f"{uri} is of a kind that is not read ({media_type}).",
        remedy=f"Convert it to one of these: {_SUPPORTED}.",
    )
