"""Source code: its lines, and what is defined there."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.decode.charset import decode_bytes, read_bytes
from ingest.decode.languages import SUFFIXES, definitions, language_of_code
from ingest.decode.windows import Section, joined_text, text_segments
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.types import Asset, Fact, Segment


class Code(Kind):
    """Text whose name or first line shows that it is a program."""

    name = "code"
    modality = TEXT
    formats = ("source code",)
    media_types = frozenset({"text/x-source"})
    suffixes = tuple(SUFFIXES)

    def sniff(self, head: Head) -> Match | None:
        """By its name, or by the first line of a script."""
        if not head.is_text or head.not_prose or not language_of_code(head.name, head.start):
            return None
        return Match("text/x-source", 0.7)

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the file's name; ``code``: the language."""
        return {"title": path.name, "code": language_of_code(path.name, read_bytes(path, 200))}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows with their lines, and the last definition that begins before or in them."""
        text = decode_bytes(read_bytes(path)).replace("\r\n", "\n")
        defined = definitions(text)
        starts = [at for at, _ in defined]
        for segment in text_segments(asset, path, [Section(text, counted="lines")], config):
            begin, end = segment.char_start or 0, segment.char_end or 0
            number = bisect_left(starts, begin + 1) - 1
            if number < 0 and starts and starts[0] < end:
                number = 0
            if number < 0:
                yield segment
                continue
            place = {"symbol": defined[number][1][:100], **json.loads(segment.place)}
            yield replace(segment, place=json.dumps(place, ensure_ascii=False))

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> str:  # noqa: ARG002
        """The text."""
        return joined_text(segments)
