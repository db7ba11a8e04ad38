"""Slides of an OpenDocument presentation, which kreuzberg does not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

from encoder.errors import MediaLimitError
from encoder.media.source import decoding, opened
from ingest.decode.windows import Section

_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def slides(path: Path, max_bytes: int) -> Iterator[Section]:
    """The paragraphs of each slide; notes come last.

    Raises:
        MediaError: not a presentation, or more than ``max_bytes`` unpacked.
    """
    # Python's expat neither fetches external entities nor lets internal ones grow without end.
    from xml.etree.ElementTree import fromstring

    with opened(path) as file, decoding(path, "an OpenDocument presentation"):
        with ZipFile(file) as members:
            if (size := members.getinfo("content.xml").file_size) > max_bytes:
                raise MediaLimitError(
                    f"{path} unpacks to {size:,} bytes; max_document_bytes is {max_bytes:,}.",
                    remedy="Raise ANYMODAL_INGEST__MAX_DOCUMENT_BYTES, or split it.",
                )
            pages = fromstring(members.read("content.xml")).iter(f"{_DRAW}page")
        for number, page in enumerate(pages, 1):
            lines = ("".join(p.itertext()).strip() for p in page.iter(f"{_TEXT}p"))
            yield Section("\n".join(line for line in lines if line), {"slide": number})
