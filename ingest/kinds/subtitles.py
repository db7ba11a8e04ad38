"""Subtitles: what is said, with the seconds at which it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig, check
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import no_text
from ingest.types import Asset, Fact, Segment

_SRT = re.compile(rb"\d+\s*\r?\n\d+:\d\d:\d\d[,.]\d{1,3} *-->")
_MARKS = {b"WEBVTT": "text/vtt", b"[Script Info]": "text/x-ssa"}


class Subtitles(Kind):
    """SubRip, WebVTT and SubStation Alpha."""

    name = "subtitles"
    modality = TEXT
    formats = ("subtitles (.srt, .vtt, .ass)",)
    media_types = frozenset({"application/x-subrip", "text/vtt", "text/x-ssa"})
    suffixes = (".srt", ".vtt", ".ass", ".ssa")

    def sniff(self, head: Head) -> Match | None:
        """By its mark, or the number and times of the first line."""
        if not head.is_text:
            return None
        if _SRT.match(head.start):
            return Match("application/x-subrip", 0.8)
        names = (name for mark, name in _MARKS.items() if head.start.startswith(mark))
        media_type = next(names, None)
        return Match(media_type, 0.8) if media_type else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title (the file's stem), and duration_s, when the last line disappears."""
        end_s = max((end_s for _, end_s, _ in _lines(path)), default=0.0)
        check(str(path), "max_duration_s", end_s, config)
        return {"title": path.stem, "duration_s": round(end_s, 3)}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Lines, joined up to the length of a text segment."""
        window: list[tuple[float, float, str]] = []
        index = at = 0
        for line in [*_lines(path), None]:
            n_chars = sum(len(text) + 1 for _, _, text in window)
            if window and (line is None or n_chars + len(line[2]) > config.text_window_chars):
                yield _segment(asset, index, at, window)
                index, at, window = index + 1, at + n_chars, []
            if line is not None:
                window.append(line)
        if not index:
            raise no_text(path)


def _segment(
    asset: Asset, index: int, at: int, window: Sequence[tuple[float, float, str]]
) -> Segment:
    text = "\n".join(text for _, _, text in window)
    return Segment(
        asset.asset_id,
        TEXT,
        index,
        text,
        start_s=window[0][0],
        end_s=max(end_s for _, end_s, _ in window),
        char_start=at,
        char_end=at + len(text),
        snippet=text,
    )


def _lines(path: Path) -> list[tuple[float, float, str]]:
    """When each line appears and disappears, in seconds, and what it says."""
    from pysubs2 import SSAFile
    from pysubs2.exceptions import Pysubs2Error

    try:
        file = SSAFile.from_string(decode_bytes(read_bytes(path)))
    except (Pysubs2Error, ValueError) as error:
        raise CorruptMediaError(
            f"{path} cannot be read as subtitles: {error}.", remedy="Export it again as SubRip."
        ) from error
    lines = (
        (event.start / 1000, event.end / 1000, " ".join(event.plaintext.split()))
        for event in file
        if not event.is_comment
    )
    return sorted(line for line in lines if line[2])
