"""Detect the kind of a file by its first bytes, never by its name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import PurePath
from typing import NamedTuple

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
        """The bytes without a byte order mark and leading white space.

        UTF-16 loses its zeros, so that ASCII can be found in it.
        """
        return self.data.replace(b"\x00", b"").removeprefix(_UTF8_BOM).lstrip(b"\xff\xfe \t\r\n")

    @cached_property
    def suffix(self) -> str:
        """The suffix of the name, in lower case, with its dot."""
        return PurePath(self.name).suffix.lower()

    @cached_property
    def signatures(self) -> tuple[str, ...]:
        """Media types whose magic numbers match, the longest number first.

        Text has none, since "BMW" and "ID3 tags" start like a bitmap and a song.
        """
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
    found = [
        row
        for (offset, length), rows in _numbers().items()
        for row in rows.get(head[offset : offset + length if offset + length else None], ())
    ]
    found += [more for row in found for more in _continued(head, row)]
    sure = (row for row in found if len(row.number) > 2 or row.number == b"BM")
    ordered = sorted(sure, key=lambda row: (-len(row.number), row.rank))
    types = (_ALIASES.get(row.media_type, row.media_type) for row in ordered if row.media_type)
    return list(dict.fromkeys(types))


class _Number(NamedTuple):
    """A magic number of puremagic; ``rank`` is its place among those of the same length."""

    number: bytes
    media_type: str
    rank: int = 0


@cache
def _numbers() -> Mapping[tuple[int, int], Mapping[bytes, list[_Number]]]:
    """All magic numbers by offset and length: puremagic itself compares 1,400 one by one.

    Those with a negative offset are at the end, which the first bytes of most files lack.
    """
    import puremagic

    found: dict[tuple[int, int], dict[bytes, list[_Number]]] = {}
    rows = chain(puremagic.magic_header_array, puremagic.magic_footer_array)
    for rank, row in enumerate(rows):
        place = found.setdefault((row.offset, len(row.byte_match)), {})
        number = _Number(row.byte_match, row.mime_type, rank)
        place.setdefault(row.byte_match, []).append(number)
    return found


def _continued(head: bytes, first: _Number) -> Iterator[_Number]:
    """What a second number, such as the one after RIFF and a length, adds."""
    import puremagic

    for row in puremagic.multi_part_dict.get(first.number, ()):
        end = row.offset + len(row.byte_match)
        if head[row.offset : end if end else None] == row.byte_match:
            number = head[:end] if row.offset >= 0 else first.number + row.byte_match
            yield _Number(number, row.mime_type, len(head))
