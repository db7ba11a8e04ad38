"""Cut text into windows of prose, and describe each table of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from encoder.errors import UnsupportedMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig, check
from ingest.kinds.numbers import DescribedSpan, parts
from ingest.split import split_text
from ingest.types import Asset, Fact, Segment

_BETWEEN = "\n\n"
"""Separates two sections in the text that offsets refer to."""


_MARKS = re.compile(r"[\W_]+")
_LEAST_CHARS = 800
_LEAST_SHARE = 0.001


_BASE64 = "[A-Za-z0-9+/]"
_MIXED = f"(?={_BASE64}*[a-z])(?={_BASE64}*[A-Z])(?={_BASE64}*[0-9])"
_ENCODED = re.compile(
    # Lines as in mails; a long run, as in a data URI.
    rf"(?m:^[ \t>]*+)(?={_BASE64}{{50}}){_MIXED}(?:{_BASE64}{{50,}}+[ \t]*\r?\n[ \t>]*+)++"
    rf"{_BASE64}*+=*"
    rf"|(?<![\w+/])(?={_BASE64}{{200}}){_MIXED}{_BASE64}*+=*"
    rf"|(?<=;base64,){_BASE64}++=*"
)
"""Pictures, keys and the like as text, which nobody reads."""


@dataclass(frozen=True)
class Section:
    """A page, a slide, a sheet or the text under a heading; ``place`` says which.

    Where ``counted`` names what a line is (``lines``, ``rows``), the place of a window also says
    which of them it spans, counted from ``first``.
    """

    text: str
    place: dict[str, Fact] = field(default_factory=dict)
    counted: str = ""
    first: int = 1


def text_segments(
    asset: Asset,
    path: Path,
    sections: Iterable[Section],
    config: IngestConfig,
    *,
    markdown: bool = False,
) -> Iterator[Segment]:
    """Windows with their places, and offsets into the joined sections.

    Numbers are described, not spelled out. What is encoded as Base64 is left out, and a section of
    more than 800 characters, spaces left out, of which less than one in a thousand is a letter or a
    digit.

    Args:
        asset: whose text it is.
        path: the file, for messages.
        sections: all of its text.
        config: window sizes and limits.
        markdown: prefer boundaries of Markdown's blocks and headings.

    Raises:
        MediaError: no text, no words, or too much.
    """
    title = str(asset.metadata.get("title") or path.stem)
    index, at, has_no_words = 0, 0, False
    for section in sections:
        check(str(path), "max_text_chars", at + len(section.text), config)
        lines = _Lines(section)
        wordless = is_wordless(section.text)
        spans = [] if wordless else list(_spans(section.text, title, config, markdown=markdown))
        has_no_words |= not spans and bool(section.text.strip())
        check(str(path), "max_text_windows", index + len(spans), config)
        for start, end, table in spans:
            window = table or section.text[start:end]
            yield Segment(
                asset.asset_id,
                TEXT,
                index,
                window,
                char_start=at + start,
                char_end=at + end,
                snippet=window,
                place=lines.place(start, end),
            )
            index += 1
        at += len(section.text) + len(_BETWEEN)
    if not index:
        raise _no_words(path) if has_no_words else no_text(path)


def is_wordless(text: str) -> bool:
    """Whether a text of some length has hardly any letters or digits, as ``[[[[…`` has.

    Each of its windows would be encoded like any other, and none could be found.
    """
    n_chars = len("".join(text.split()))
    n_letters = len(_MARKS.sub("", text))
    return n_chars > _LEAST_CHARS and n_letters < _LEAST_SHARE * n_chars


def document_segments(
    asset: Asset,
    path: Path,
    sections: Sequence[Section],
    pictures: Iterable[Segment],
    config: IngestConfig,
    *,
    markdown: bool = False,
) -> Iterator[Segment]:
    """As `text_segments`, then the pictures of a document, which may have only these.

    Raises:
        MediaError: it has neither, as if nothing is written yet, or too much.
    """
    picture_segments = list(pictures)
    if any(section.text.strip() for section in sections):
        yield from text_segments(asset, path, sections, config, markdown=markdown)
    elif not picture_segments:
        raise UnsupportedMediaError(
            f"{path} holds neither text nor pictures that can be read.",
            remedy="If its own program shows some, export it from there as PDF.",
        )
    yield from picture_segments


class _Lines:
    """The places of windows, which come in order; lines are counted once."""

    def __init__(self, section: Section) -> None:
        self._section = section
        self._at, self._line = 0, section.first

    def place(self, start: int, end: int) -> str:
        """The place as JSON; empty if the section has none."""
        section = self._section
        if not section.counted:
            return json.dumps(section.place, ensure_ascii=False) if section.place else ""
        last_char = max(end - 1, start)
        self._line += section.text.count("\n", self._at, start)
        if start < self._at:  # neighbours overlap
            self._line -= section.text.count("\n", start, self._at)
        self._at = start
        last = self._line + section.text.count("\n", start, last_char)
        span = f"{self._line}–{last}" if last > self._line else str(last)
        return json.dumps({**section.place, section.counted: span}, ensure_ascii=False)


def no_text(path: Path) -> UnsupportedMediaError:
    """The error for a file in which there is nothing to read."""
    return UnsupportedMediaError(
        f"{path} holds no text.",
        remedy="Write something in it, or run text recognition (OCR) over scanned pages.",
    )


def _no_words(path: Path) -> UnsupportedMediaError:
    return UnsupportedMediaError(
        f"{path} holds no words, but signs or encoded data.", remedy="Check that it is a text."
    )


def joined_text(segments: Sequence[Segment]) -> str:
    """The windows as one text, in which what neighbours share occurs once."""
    whole, end = "", 0
    for segment in segments:
        if not isinstance(segment.content, str):
            continue
        start = segment.char_start or 0
        if start > end:
            whole += "\n"
        whole += segment.content[max(0, end - start) :] if start < end else segment.content
        end = max(end, segment.char_end or 0)
    return whole.strip()


def _spans(
    text: str, title: str, config: IngestConfig, *, markdown: bool
) -> Iterator[DescribedSpan]:
    if not text.strip():
        return
    window, overlap = config.text_window_chars, config.text_overlap_chars
    for section in parts(text, title):
        if section.table:
            yield section
            continue
        for begin, stop in _unencoded(text, section.start, section.end):
            for start, end in split_text(text[begin:stop], window, overlap, markdown=markdown):
                yield DescribedSpan(begin + start, begin + end)


def _unencoded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What is not encoded of a stretch of a text, from and to where."""
    for match in _ENCODED.finditer(text, start, end):
        if text[start : match.start()].strip():
            yield start, match.start()
        start = match.end()
    if text[start:end].strip():
        yield start, end
