"""Text that is read in pictures and in the frames of films, as text of their asset.

Frames are read as they were decoded; a picture that may hold text is decoded again, since small
letters are unreadable at the size that towers take. Frames that show the same text are one
passage, from the first of them to the end of the last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from encoder.errors import MediaError
from encoder.services.reader import LazyReader, looks_printed
from encoder.types import IMAGE, TEXT, ReadText, RgbPicture
from ingest import IngestConfig, Place, picture
from ingest.split import split_text
from ingest.types import Asset, Segment

_SHORT_SIDE = 1600
"""A page of A4 at 190 dpi."""

_SAME = 0.8
"""Texts of two frames that share at least this much of their characters are one text."""


@dataclass(frozen=True)
class Passage:
    lines: Sequence[ReadText]
    start_s: float | None = None
    end_s: float | None = None
    place: str = ""

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


class PictureReading:
    """The texts in the pictures of one asset, which come in order of time."""

    def __init__(self, reader: LazyReader, asset: Asset, config: IngestConfig) -> None:
        self._reader = reader
        self._asset = asset
        self._config = config
        self._passages: list[Passage] = []

    def add(self, frame: Segment) -> None:
        boxes = self._reader.look(frame.content)
        if not boxes:
            return
        picture = self._in_detail(frame)
        # What looks like text in a photo is looked at again: reading takes twenty times as long.
        is_sure = picture is frame.content or looks_printed(frame.content)
        if not is_sure and not self._reader.confirms(picture, boxes):
            return
        lines = [_relative(line, picture) for line in self._reader.read_all(picture)]
        if not lines:
            return
        passage = Passage(lines, frame.start_s, frame.end_s, frame.place)
        if self._passages and not passage.place and _goes_on(self._passages[-1], passage):
            self._passages[-1] = _joined(self._passages[-1], passage)
        else:
            self._passages.append(passage)

    def segments(self, first_index: int) -> Iterator[Segment]:
        """Text segments of all that was read, no longer than those of other texts."""
        windows = (
            (passage, text, lines)
            for passage in self._passages
            for text, lines in _windows(passage.lines, self._config)
        )
        for index, (passage, text, lines) in enumerate(windows, first_index):
            yield Segment(
                self._asset.asset_id,
                TEXT,
                index,
                text,
                start_s=passage.start_s,
                end_s=passage.end_s,
                snippet=text,
                confidence=float(np.mean([line.confidence for line in lines])),
                boxes=json.dumps([[round(float(v), 4) for xy in x.box for v in xy] for x in lines]),
                place=passage.place,
            )

    def _in_detail(self, frame: Segment) -> RgbPicture:
        """The picture, larger than it is encoded if possible."""
        picture_of_frame: RgbPicture = frame.content
        sides = self._asset.metadata.get("width"), self._asset.metadata.get("height")
        is_larger = all(
            isinstance(side, int) and side > min(picture_of_frame.shape[:2]) for side in sides
        )
        if not frame.place and (self._asset.modality != IMAGE or not is_larger):
            return picture_of_frame
        where = json.loads(frame.place) if frame.place else {}
        if "picture" in where:  # within a document, which is shown by pages
            return picture_of_frame
        frame_place = Place(page=where.get("page", 1))
        try:
            finer = self._config.model_copy(update={"image_short_side": _SHORT_SIDE})
            detailed: RgbPicture = picture(self._asset, frame_place, finer).content
        except MediaError:
            return picture_of_frame
        return detailed


def _relative(line: ReadText, picture: RgbPicture) -> ReadText:
    """The line with its box as fractions of the picture's width and height."""
    height, width = picture.shape[:2]
    return line._replace(box=tuple((x / width, y / height) for x, y in line.box))


def _goes_on(earlier: Passage, later: Passage) -> bool:
    return SequenceMatcher(None, earlier.text, later.text, autojunk=False).ratio() >= _SAME


def _joined(earlier: Passage, later: Passage) -> Passage:
    """Two passages as one, with the surer reading."""
    surer = max(earlier, later, key=lambda passage: sum(line.confidence for line in passage.lines))
    return Passage(surer.lines, earlier.start_s, later.end_s)


def _windows(
    lines: Sequence[ReadText], config: IngestConfig
) -> Iterator[tuple[str, list[ReadText]]]:
    """Pieces of text, each with the lines that it contains a part of."""
    text = "\n".join(line.text for line in lines)
    ends = np.cumsum([len(line.text) + 1 for line in lines])
    for start, end in split_text(text, config.text_window_chars, config.text_overlap_chars):
        first, last = np.searchsorted(ends, [start, end - 1], "right")
        yield text[start:end], list(lines[first : last + 1])
