"""Detect the kind of a file by its first bytes, never by its name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

HEAD_BYTES = 8192
"""How many bytes `sniff` needs."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


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
    def looks_like(self) -> str:
        """What a library of 1,400 magic numbers calls the format; empty if it knows none."""
        import puremagic

        try:
            matches = puremagic.magic_string(self.data)
        except (puremagic.PureError, ValueError):
            return ""
        # Shorter numbers, and those of hardly anything but zeros, often match by chance.
        sure = (m for m in matches if len(m.byte_match) > 3 and len(set(m.byte_match)) > 2)
        return next((match.name for match in sure if match.name), "")
