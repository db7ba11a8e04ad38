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
_DECLARED = re.compile(
    rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*[\"']?\s*([\w-]{2,40})", re.I
)
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
# The encodings of the Web. Guesses at others (DOS, EBCDIC, old Apple) are mostly wrong, and
# browsers do not support them.
_LATIN = "ascii utf-8 cp1250 cp1252 cp1254 cp1257 cp1258 iso8859-2".split()
_LIKELY = (
    _LATIN
    + """
iso8859-5 iso8859-6 iso8859-7 iso8859-8 koi8-r koi8-u cp866 cp874 cp1251 cp1253 cp1255 cp1256
gb18030 big5hkscs euc_jis_2004 iso2022_jp_2 cp932 cp949
""".split()
)
# Accents stand alone in words, which other scripts write in runs of such bytes.
_ALONE = 1.5
_LEAST_CONFIDENCE = 0.03
"""Less is what a few accents in an English text give; cp1252 has those of most languages."""

_SHIFTED = b"\x1b$"
"""In ASCII, from here on there are other characters than these bytes are: ISO 2022."""

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
            if encoding == "utf-8" and _SHIFTED in chunk:
                return False
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except (UnicodeError, LookupError):
        return False  # not in the declared encoding
    return True


def _guess(sample: bytes) -> str:
    """The most likely encoding; cp1252 for accents that say little."""
    from chardet import detect

    runs = _BEYOND_ASCII.findall(sample)
    is_latin = sum(map(len, runs)) < _ALONE * len(runs)
    likely = _LATIN if is_latin else _LIKELY
    guess = detect(sample, include_encodings=likely, compat_names=False)
    is_sure = guess["confidence"] > _LEAST_CONFIDENCE or not is_latin
    return guess["encoding"] if guess["encoding"] and is_sure else "cp1252"


def declared_charset(data: bytes) -> str | None:
    """The encoding that the start of a page or of XML declares."""
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
