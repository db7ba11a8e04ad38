"""Detect the kind of a file by its first bytes, never by its name."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

HEAD_BYTES = 8192
"""How many bytes `sniff` needs."""

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
# Text formats that nobody reads as text.
_NOT_PROSE = {
    b"{\\rtf": "application/rtf",
    b"%!PS": "application/postscript",
    b"#EXTM3U": "application/vnd.apple.mpegurl",
}


@dataclass(frozen=True)
class Match:
    """What a kind makes of a file's first bytes.

    ``confidence`` (0 to 1) decides between kinds: a signature is worth .9, text that looks like
    something .8, any text .5.
    """

    media_type: str
    confidence: float = 0.9


@dataclass(frozen=True)
class Head:
    """The first `HEAD_BYTES` bytes of a file, and its name, which says little."""

    data: bytes
    name: str = ""

    @cached_property
    def is_text(self) -> bool:
        """Whether people can read the bytes. Media hold zero bytes or other control characters."""
        if self.data.startswith(_UTF16):
            even = self.data[: len(self.data) // 2 * 2]
            return "\x00" not in even.decode("utf-16", errors="ignore")
        return not _CONTROL.search(self.data)

    @cached_property
    def start(self) -> bytes:
        """Without marks of the encoding and white space; UTF-16 loses its zeros, so that what is
        ASCII can be found in it."""
        return self.data.replace(b"\x00", b"").removeprefix(_UTF8_BOM).lstrip(b"\xff\xfe \t\r\n")

    @cached_property
    def suffix(self) -> str:
        """Of the name, in lower case, with its dot."""
        return PurePath(self.name).suffix.lower()

    @cached_property
    def signatures(self) -> tuple[str, ...]:
        """Media types whose magic numbers match, the longest number first; none of text, since
        "BMW" and "ID3 tags" start like a bitmap and a song."""
        if self.is_text:
            return next(
                ((name,) for prefix, name in _NOT_PROSE.items() if self.start.startswith(prefix)),
                (),
            )
        return (*_mpeg_signatures(self.data), *_signatures(self.data))

    def signed(self, media_types: Collection[str]) -> Match | None:
        """The first of the signatures that is one of these; later ones are less sure."""
        for rank, media_type in enumerate(self.signatures):
            if media_type in media_types:
                return Match(media_type, 0.9 - rank / 100)
        return None


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

    Two-byte numbers often match by chance; of the supported kinds only bitmaps need one.
    """
    import puremagic

    try:
        matches = puremagic.magic_string(head)
    except puremagic.PureError:
        return []
    matches.sort(key=lambda match: len(match.byte_match), reverse=True)
    sure = (m for m in matches if len(m.byte_match) > 2 or m.byte_match == b"BM")
    return [_ALIASES.get(m.mime_type, m.mime_type) for m in sure if m.mime_type]
