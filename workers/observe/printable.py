"""The one way for text to reach a terminal or a log: whatever it could do there is escaped.

A file's name, a title or a decoder's message may hold sequences that recolour, overwrite or
retitle a terminal, or that reverse the order of letters. Pure, except `SafeStream`.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, TextIO, cast

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, delete and C1; with them every escape sequence, OSC too
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of text
    "\u2028\u2029"  # ends of lines and paragraphs
    "\ud800-\udfff]"  # lone surrogates: bytes of names that are not UTF-8
)


def printable(text: str, keep: str = "\n\t") -> str:
    r"""The text with its control characters spelled out, except those to ``keep``.

    >>> printable("a\x1b]0;b\x07\u202ec\n")
    'a\\x1b]0;b\\x07\\u202ec\n'
    """
    return _UNSAFE.sub(lambda m: m[0] if m[0] in keep else _spelled(m[0]), text)


def one_line(text: str) -> str:
    r"""The same on one line, so that no name can forge another line.

    >>> one_line("a\nb")
    'a\\nb'
    """
    return printable(text.replace("\n", r"\n"), keep="\t")


def safe_json(document: str) -> str:
    r"""An equivalent JSON document that is safe to show as it is.

    >>> safe_json('{"a": "\x9b1m"}')
    '{"a": "\\u009b1m"}'
    """
    # json itself escapes C0 within strings: those that are left are its line breaks
    return _UNSAFE.sub(lambda m: m[0] if m[0] in "\n\t" else f"\\u{ord(m[0]):04x}", document)


def _spelled(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else f"\\u{ord(letter):04x}"


class SafeStream:
    """Standard output or error, for everything except what draws with its own escape sequences."""

    def __init__(self, unfiltered: TextIO) -> None:
        self.unfiltered = unfiltered

    def write(self, text: str) -> int:
        """Write what is printable. A leading return stays: progress bars of libraries use it."""
        returned = text.startswith("\r")
        self.unfiltered.write("\r" * returned + printable(text[returned:].replace("\r\n", "\n")))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # bytes would pass unseen
            raise AttributeError(name)
        return getattr(self.unfiltered, name)


def unfiltered(stream: TextIO) -> TextIO:
    """The stream behind a `SafeStream`, or the stream itself."""
    return cast(TextIO, getattr(stream, "unfiltered", stream))


def guard_streams() -> None:
    """From here on, make everything written to standard output and error printable.

    Those that are closed are opened on nothing, lest a file of the store takes their number.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(null, "w" if number else "r", encoding="utf-8"))
    sys.stdout, sys.stderr = (
        cast(TextIO, SafeStream(unfiltered(stream))) for stream in (sys.stdout, sys.stderr)
    )
