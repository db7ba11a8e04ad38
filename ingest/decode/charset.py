"""Bytes to text."""

from __future__ import annotations

import codecs

_SAMPLE_BYTES = 65_536
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def decode_bytes(data: bytes, declared: str | None = None) -> str:
    """Decode text: by its byte order mark, as UTF-8, as ``declared``, else as it looks.

    Never fails: what cannot be decoded becomes U+FFFD.
    """
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            return data.decode(encoding, errors="replace")
    for said in ("utf-8", declared or "utf-8"):
        try:
            return data.decode(said)
        except (UnicodeDecodeError, LookupError):
            continue  # it is not what it says: look at the bytes
    return data.decode(_guess(data[:_SAMPLE_BYTES]), errors="replace")


def _guess(sample: bytes) -> str:
    """The likeliest eight-bit encoding; in a tie cp1252, which holds all letters of Latin-1."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        return "cp1252"
    for match in matches:
        if "cp1252" in match.could_be_from_charset:
            tie = match.chaos <= best.chaos and match.coherence >= best.coherence
            return "cp1252" if tie else best.encoding
    return best.encoding
