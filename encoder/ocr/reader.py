"""Reads the text in a picture with the three networks of PP-OCR (Cui et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.media.image import resize
from encoder.ocr.boxes import Box, find_boxes, scaled
from encoder.ocr.crops import HEIGHT, crop, is_tall, line_width, turned
from encoder.ocr.order import reading_order
from encoder.ocr.printed import looks_printed
from encoder.ocr.spelling import spell
from encoder.runtime.base import Session, run_all
from encoder.types import ReadText, RgbPicture

_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_SCALE = np.array([0.229, 0.224, 0.225], np.float32) * 255
_STRIDE = 32
"""Both sides of what the detector takes are multiples of it."""

_STRIP_ROWS, _SHARED_ROWS = 384, 64
"""A page is searched in strips that share rows, so memory depends only on its width."""

_FLAT = 16
"""A strip whose pixels differ by less holds no text."""

_FEW = 3
_MIDDLE = np.full(3, 127.5, np.float32)
_LINES_AT_ONCE = 16

_TURN_SIZE = (192, HEIGHT)
_VOTERS = 32
_TRIED = 3
_UPSIDE_DOWN = 0.9


@dataclass(frozen=True)
class Limits:
    """What reading one picture may cost.

    Args:
        test_pixels: the size at which it is tested whether there is text at all.
        printed_pixels: the same for what looks like a screen or a sheet of paper.
        max_pixels: a larger picture is searched at this size.
        max_lines: the most lines that are read, the largest first.
        max_width: the most pixels of lines, 48 in height, that are read in all: about ten seconds.
        least_confidence: less certain lines are left out.
    """

    test_pixels: int = 90_000
    printed_pixels: int = 500_000
    max_pixels: int = 2_100_000
    max_lines: int = 400
    max_width: int = 150_000
    least_confidence: float = 0.6


LIMITS = Limits()


class Reader:
    """Reads text in pictures. Safe to use from threads.

    Args:
        detector: takes ``x`` float32 [n, 3, height, width], gives the probability of text
            [n, 1, height, width].
        recognizer: takes ``x`` float32 [n, 3, HEIGHT, width], gives for each step how probable
            the best class is, and which it is, [n, n_steps] both.
        turn_classifier: takes ``x`` float32 [n, 3, HEIGHT, 192], gives how probable it is that a
            line is upright and upside down [n, 2].
        characters: of the recognizer's classes.
        limits: see `Limits`.
    """

    def __init__(
        self,
        detector: Session,
        recognizer: Session,
        turn_classifier: Session,
        characters: Sequence[str],
        limits: Limits = LIMITS,
    ) -> None:
        self._detector = detector
        self._recognizer = recognizer
        self._turn_classifier = turn_classifier
        self._characters = characters
        self._limits = limits

    def has_text(self, picture: RgbPicture) -> bool:
        """Whether there may be text in a picture: a quick look at a small copy.

        If there are only a few lines, one must be legible: much in photos looks like text from
        afar.
        """
        limits = self._limits
        pixels = limits.printed_pixels if looks_printed(picture) else limits.test_pixels
        boxes = self._boxes(picture, pixels)
        if len(boxes) > _FEW:
            return True
        return any(
            self._is_legible(line)
            for line in self._lines(picture, self._upright(picture, boxes)[0])
        )

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """The lines of text in a picture, in reading order; none where `has_text` sees none."""
        return self.read_all(picture) if self.has_text(picture) else []

    def read_all(self, picture: RgbPicture) -> list[ReadText]:
        """`read` without the quick look."""
        boxes = self._boxes(picture, self._limits.max_pixels)
        boxes, quarters = self._upright(picture, boxes)
        ordered = [boxes[i] for i in reading_order(boxes, quarters)]
        wanted = self._within_limits(ordered)
        lines = [
            line
            for start in range(0, len(wanted), _LINES_AT_ONCE)
            for line in self._lines(picture, wanted[start : start + _LINES_AT_ONCE])
        ]
        return [line for line in lines if self._is_legible(line)]

    def _is_legible(self, line: ReadText) -> bool:
        return bool(line.text) and line.confidence >= self._limits.least_confidence

    def _boxes(self, picture: RgbPicture, pixels: int) -> list[Box]:
        page = _fitted(picture, pixels)
        x, y = picture.shape[1] / page.shape[1], picture.shape[0] / page.shape[0]
        return [scaled(box, x, y) for box in find_boxes(self._seen(page), self._limits.max_lines)]

    def _seen(self, page: RgbPicture) -> NDArray[np.float32]:
        """The probability of text at each pixel, [height, width]."""
        seen = np.zeros(page.shape[:2], np.float32)
        for top in range(0, max(1, len(page) - _SHARED_ROWS), _STRIP_ROWS - _SHARED_ROWS):
            strip = page[top : top + _STRIP_ROWS]
            if np.ptp(strip) < _FLAT:
                continue
            (found,) = self._detector.run({"x": _as_input(strip, _MEAN, _SCALE)[None]})
            # Two strips are separated in the middle of what they share.
            skip = _SHARED_ROWS // 2 if top else 0
            seen[top + skip : top + len(strip)] = found[0, 0, skip:]
        return seen

    def _upright(self, picture: RgbPicture, boxes: Sequence[Box]) -> tuple[list[Box], int]:
        """Boxes turned as their lines are read, and the quarter turns that make the page upright.

        Lines along the page and lines across it are each turned over together: a single line is
        easily misjudged.
        """
        is_across = [is_tall(box) for box in boxes]
        turns = {False: 0, True: 1}
        for across, turn in turns.items():
            alike = [
                turned(b, turn) for b, tall in zip(boxes, is_across, strict=True) if tall == across
            ]
            turns[across] += 2 * self._are_upside_down(picture, alike)
        page = turns[sum(is_across) * 2 > len(boxes)]
        return [turned(box, turns[tall]) for box, tall in zip(boxes, is_across, strict=True)], page

    def _are_upside_down(self, picture: RgbPicture, boxes: Sequence[Box]) -> bool:
        """Whether lines read better upside down; tried only if the classifier thinks so."""
        if not boxes:
            return False
        lines = [_beginning(crop(picture, box)) for box in boxes[:_VOTERS]]
        (found,) = self._turn_classifier.run({"x": np.stack([_centred(line) for line in lines])})
        if np.median(found[:, 1]) <= _UPSIDE_DOWN:
            return False
        some = boxes[:_TRIED]
        upright, over = (
            sum(line.confidence for line in self._lines(picture, tried))
            for tried in (some, [turned(box, 2) for box in some])
        )
        return over > upright

    def _within_limits(self, boxes: Sequence[Box]) -> list[Box]:
        widths = np.cumsum([line_width(box) for box in boxes])
        return list(boxes[: int(np.searchsorted(widths, self._limits.max_width, "right"))])

    def _lines(self, picture: RgbPicture, boxes: Sequence[Box]) -> list[ReadText]:
        lines = [_centred(crop(picture, box))[None] for box in boxes]
        found = run_all(self._recognizer, [{"x": line} for line in lines])
        return [
            _read(*spell(sure[0], best[0], self._characters), box)
            for (sure, best), box in zip(found, boxes, strict=True)
        ]


def _fitted(picture: RgbPicture, pixels: int) -> RgbPicture:
    """The picture at about ``pixels`` at most, with sides that the detector takes."""
    height, width = picture.shape[:2]
    scale = min(1.0, (pixels / (height * width)) ** 0.5)
    sides = [max(1, round(side * scale / _STRIDE)) * _STRIDE for side in (width, height)]
    return resize(picture, *sides)


def _beginning(line: RgbPicture) -> RgbPicture:
    """As much of a line as the classifier takes, without squeezing letters."""
    width, height = _TURN_SIZE
    return resize(line[:, :width], width, height)


def _as_input(
    picture: RgbPicture, mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Float32 [3, height, width]; the networks were trained on blue before red."""
    planes = np.empty((3, *picture.shape[:2]), np.float32)
    for plane, colour in enumerate((2, 1, 0)):  # one after the other takes half the time
        np.subtract(picture[..., colour], mean[plane], out=planes[plane])
        planes[plane] /= scale[plane]
    return planes


def _centred(line: RgbPicture) -> NDArray[np.float32]:
    return _as_input(line, _MIDDLE, _MIDDLE)


def _read(text: str, confidence: float, box: Box) -> ReadText:
    corners = tuple((round(float(x), 1), round(float(y), 1)) for x, y in box)
    return ReadText(text, corners, round(confidence, 3))
