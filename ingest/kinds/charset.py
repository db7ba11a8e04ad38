"""Bytes to text."""

from __future__ import annotations

import codecs
import io
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from encoder.media.source import opened

_SAMPLE_BYTES = 65_536
_CHUNK_BYTES = 2**20
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]{2,40})", re.I)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
# The encodings of the Web. Guesses at others (DOS, EBCDIC, old Apple) are mostly wrong, and
# browsers do not support them.
_LIKELY = """
ascii utf_8 iso8859_2 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_15 koi8_r koi8_u mac_roman
mac_cyrillic cp866 cp874 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 gb18030 big5
euc_jp iso2022_jp cp932 euc_kr cp949
""".split()
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode_bytes(data: bytes, declared: str | None = None) -> str:
    """Decode text in its `encoding_of`.

    Never fails: undecodable bytes become U+FFFD.
    """
    return data.decode(encoding_of(io.BytesIO(data), declared), errors="replace")


def encoding_of(file: BinaryIO, declared: str | None = None) -> str:
    """The codec of a text: by byte order mark, else UTF-8, else ``declared``, else a guess."""
    file.seek(0)
    head = file.read(4)
    for bom, encoding in _BOMS.items():
        if head.startswith(bom):
            return encoding
    for candidate in ("utf-8", declared):
        if candidate and _fits(file, candidate):
            return candidate
    return _guess(_sample(file))


def _sample(file: BinaryIO) -> bytes:
    """A piece around the first non-ASCII byte; only such bytes distinguish encodings."""
    file.seek(0)
    previous = b""
    while chunk := file.read(_CHUNK_BYTES):
        if match := _BEYOND_ASCII.search(chunk):
            tail = chunk[max(0, match.start() - _SAMPLE_BYTES // 2) :]
            return (previous + tail if match.start() < _SAMPLE_BYTES // 2 else tail)[:_SAMPLE_BYTES]
        previous = chunk[-_SAMPLE_BYTES // 2 :]
    return previous


def _fits(file: BinaryIO, encoding: str) -> bool:
    """Whether a whole file can be decoded; reads it in pieces."""
    file.seek(0)
    try:
        "a".encode(encoding)  # refuses codecs that do not make text, such as hex
        decoder = codecs.getincrementaldecoder(encoding)()
        while chunk := file.read(_CHUNK_BYTES):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except (UnicodeError, LookupError):
        return False  # not in the declared encoding
    return True


def _guess(sample: bytes) -> str:
    """The most likely encoding; in a tie cp1252, which covers Latin-1's letters."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=_LIKELY)
    best = matches.best()
    if best is None:
        return "cp1252"
    for match in matches:
        if "cp1252" in match.could_be_from_charset:
            tie = match.chaos <= best.chaos and match.coherence >= best.coherence
            return "cp1252" if tie else best.encoding
    return best.encoding


def declared_charset(data: bytes) -> str | None:
    """The encoding that the start of a page declares."""
    match = _DECLARED.search(data[:2048])
    return match.group(1).decode() if match else None


def charset_of(path: Path, media_type: str) -> str:
    """The codec of a plain text, a Markdown or an HTML file.

    Raises:
        MediaError: it cannot be read.
    """
    with opened(path) as file:
        facts = os.fstat(file.fileno())
        return _charset_of(str(path), media_type, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4096)
def _charset_of(path: str, media_type: str, _mtime_ns: int, _size_bytes: int) -> str:
    """Cached, since detection may read most of the file."""
    with opened(path) as file:
        declared = declared_charset(file.read(2048)) if media_type == "text/html" else None
        return encoding_of(file, declared)


def read_bytes(path: Path, n_bytes: int = -1) -> bytes:
    """A file's first bytes, or all of them.

    Raises:
        MediaError: it cannot be read.
    """
    with opened(path) as file:
        return file.read(n_bytes)
