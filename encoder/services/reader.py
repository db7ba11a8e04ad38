"""Reads the text in a picture with the three networks of PP-OCR (Cui et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.media.image import resize
from encoder.runtime.base import Session, run_all, side_by_side
from encoder.runtime.onnx import open_onnx
from encoder.services.boxes import (
    HEIGHT,
    Box,
    crop,
    find_boxes,
    from_side,
    is_tall,
    line_width,
    reading_order,
    scaled,
    size_of,
    turned,
)
from encoder.system.allocator import give_back
from encoder.system.batched import in_batches
from encoder.system.resting import Resting
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
_MANY, _STUBBY = 12, 2.5
_MIDDLE = np.full(3, 127.5, np.float32)
_LINES_AT_ONCE = 16

_TURN_SIZE = (192, HEIGHT)
_VOTERS = 32
_TRIED = 3
_UPSIDE_DOWN = 0.9


@dataclass(frozen=True)
class ReadingLimits:
    """What reading one picture may cost.

    Args:
        test_pixels: the size at which it is tested whether there is text at all.
        printed_pixels: the same for what looks like a screen or a sheet of paper.
        max_pixels: a larger picture is searched at this size.
        max_lines: the most lines that are read, the largest first.
        max_width: the most pixels of lines, 48 in height, that are read in all: about ten seconds.
    """

    test_pixels: int = 90_000
    printed_pixels: int = 500_000
    max_pixels: int = 2_100_000
    max_lines: int = 400
    max_width: int = 150_000
    least_confidence: float = 0.6


LIMITS = ReadingLimits()


class Reader:
    """Reads text in pictures. Safe to use from threads.

    Args:
        detector: ``x`` float32 [n, 3, height, width] to how probable text is [n, 1, height, width].
        recognizer: ``x`` float32 [n, 3, HEIGHT, width] to how probable the best class is at each
            step, and which it is, [n, n_steps] both.
        turn_classifier: ``x`` float32 [n, 3, HEIGHT, 192] to how probable it is that a line is
            upright and upside down [n, 2].
        characters: of the recognizer's classes.
    """

    def __init__(
        self,
        detector: Session,
        recognizer: Session,
        turn_classifier: Session,
        characters: Sequence[str],
        limits: ReadingLimits = LIMITS,
    ) -> None:
        self._detector = detector
        self._recognizer = recognizer
        self._turn_classifier = turn_classifier
        self._characters = characters
        self._limits = limits

    def look(self, picture: RgbPicture) -> list[Box]:
        """Lines that a quick look at a small copy sees, in fractions of the picture's sides.

        None if there is no text: much in photos looks like text from afar, see `confirms`.
        """
        limits = self._limits
        pixels = limits.printed_pixels if looks_printed(picture) else limits.test_pixels
        height, width = picture.shape[:2]
        boxes = [scaled(box, 1 / width, 1 / height) for box in self._boxes(picture, pixels)]
        return boxes if self.confirms(picture, boxes) else []

    def confirms(self, picture: RgbPicture, seen_boxes: Sequence[Box]) -> bool:
        """Whether what `look` saw, maybe in a smaller copy, is text.

        If there are only a few lines, one must be legible.
        """
        if len(seen_boxes) > _FEW:
            return True
        height, width = picture.shape[:2]
        boxes, _ = self._upright(picture, [scaled(box, width, height) for box in seen_boxes])
        return any(self._is_legible(line) for line in self._lines(picture, boxes))

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """The lines of text in a picture, in reading order; none where `look` sees none."""
        return self.read_all(picture) if self.look(picture) else []

    def read_all(self, picture: RgbPicture) -> list[ReadText]:
        """`read` without the quick look."""
        boxes = self._boxes(picture, self._limits.max_pixels)
        boxes, quarters = self._upright(picture, boxes)
        ordered = [boxes[i] for i in reading_order(boxes, quarters)]
        widths = np.cumsum([line_width(box) for box in ordered])
        n_most = int(np.searchsorted(widths, self._limits.max_width, "right"))
        lines = [
            line
            for some in in_batches(ordered[:n_most], _LINES_AT_ONCE)
            for line in self._lines(picture, some)
        ]
        return [line for line in lines if self._is_legible(line)]

    def _is_legible(self, line: ReadText) -> bool:
        return bool(line.text) and line.confidence >= self._limits.least_confidence

    def _boxes(self, picture: RgbPicture, pixels: int) -> list[Box]:
        """Lines of a picture; where they look like single characters, those of it on its side.

        Of a Chinese page on its side, the detector sees characters instead of lines.
        """
        boxes = self._level_boxes(picture, pixels)
        if len(boxes) < _MANY or _length(boxes) > _STUBBY:
            return boxes
        on_side = [from_side(box, picture) for box in self._level_boxes(np.rot90(picture), pixels)]
        return on_side if _length(on_side) > 2 * _length(boxes) else boxes

    def _level_boxes(self, picture: RgbPicture, pixels: int) -> list[Box]:
        page = _fitted(picture, pixels)
        x, y = picture.shape[1] / page.shape[1], picture.shape[0] / page.shape[0]
        return [scaled(box, x, y) for box in find_boxes(self._seen(page), self._limits.max_lines)]

    def _seen(self, page: RgbPicture) -> NDArray[np.float32]:
        """The probability of text at each pixel, [height, width]."""
        probabilities = np.zeros(page.shape[:2], np.float32)
        for top in range(0, max(1, len(page) - _SHARED_ROWS), _STRIP_ROWS - _SHARED_ROWS):
            strip = page[top : top + _STRIP_ROWS]
            if np.ptp(strip) < _FLAT:
                continue
            (output,) = self._detector.run({"x": _as_input(strip, _MEAN, _SCALE)[None]})
            # Two strips are separated in the middle of what they share.
            skip = _SHARED_ROWS // 2 if top else 0
            probabilities[top + skip : top + len(strip)] = output[0, 0, skip:]
        return probabilities

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
        (turns,) = self._turn_classifier.run({"x": np.stack([_centred(line) for line in lines])})
        if np.median(turns[:, 1]) <= _UPSIDE_DOWN:
            return False
        some = boxes[:_TRIED]
        upright, over = (
            sum(line.confidence for line in self._lines(picture, tried))
            for tried in (some, [turned(box, 2) for box in some])
        )
        return over > upright

    def _lines(self, picture: RgbPicture, boxes: Sequence[Box]) -> list[ReadText]:
        lines = [_centred(crop(picture, box))[None] for box in boxes]
        outputs = run_all(self._recognizer, [{"x": line} for line in lines])
        texts = []
        for (sure, best), box in zip(outputs, boxes, strict=True):
            text, confidence = spell(sure[0], best[0], self._characters)
            corners = tuple((round(float(x), 1), round(float(y), 1)) for x, y in box)
            texts.append(ReadText(text, corners, round(confidence, 3)))
        return texts


def _length(boxes: Sequence[Box]) -> float:
    """How many times as long as thick most boxes are; 0 of none."""
    ratios = [max(sides) / max(1.0, min(sides)) for sides in map(size_of, boxes)]
    return float(np.median(ratios)) if ratios else 0.0


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


_FLAT_STEP = 1
_FLAT_SHARE = 0.75
"""On screens .84 or more of neighbouring pixels are alike; of 300 photos, 1 % reached .77."""

_PAPER_RANGE = 12
_PAPER_SHARE = 0.6
"""At least this share of a sheet is as light as its paper; half of the photos stay below .27."""

_PAPER_COLOUR = 12.0
"""The most that colours differ on average in grey things; 10 % of photos are below 11."""


def looks_printed(picture: RgbPicture) -> bool:
    """Whether there may be small letters on it, which a small copy does not show."""
    return _is_flat(picture) or _is_paper(picture)


def _is_flat(picture: RgbPicture) -> bool:
    rows = picture[::2]
    left_pixels, right_pixels = rows[:, :-1], rows[:, 1:]
    steps = np.maximum(left_pixels, right_pixels) - np.minimum(left_pixels, right_pixels)
    # Colour by colour: numpy takes 20 times as long for the largest of three that lie side by side.
    largest = np.maximum(np.maximum(steps[..., 0], steps[..., 1]), steps[..., 2])
    return bool(largest.size) and float((largest <= _FLAT_STEP).mean()) >= _FLAT_SHARE


def _is_paper(picture: RgbPicture) -> bool:
    some = picture[::4, ::4].astype(np.int16)
    if float(np.ptp(some, axis=2).mean()) > _PAPER_COLOUR:
        return False
    counts = np.bincount(some.mean(axis=2).astype(int).ravel(), minlength=256)
    near = np.convolve(counts, np.ones(2 * _PAPER_RANGE + 1), "same")
    return float(near.max() / counts.sum()) >= _PAPER_SHARE


def read_characters(path: Path) -> list[str]:
    """The recognizer's classes: nothing, then those of the file, one a line, then the space."""
    return ["", *path.read_text("utf-8").removesuffix("\n").split("\n"), " "]


def spell(
    sure: NDArray[np.float32], best: NDArray[np.int64], characters: Sequence[str]
) -> tuple[str, float]:
    """The most probable text by CTC's best path (Graves et al. 2006), and how sure it is, 0 to 1.

    ``best`` [n_steps] is the best class at each step, 0 for none, and ``sure`` its probability.
    """
    begins = np.flatnonzero((best != 0) & (np.diff(best, prepend=-1) != 0))
    text = "".join(characters[best_class] for best_class in best[begins])
    return text.strip(), float(sure[begins].mean()) if len(begins) else 0.0


DETECTOR, RECOGNIZER, TURN_CLASSIFIER = "detector.onnx", "recognizer.onnx", "turn.onnx"
CHARACTERS = "characters.txt"
"""Files of the folder; the networks are made from those that have `SOURCE` before their names."""

SOURCE = "source-"

SURE, BEST = "sure", "best"
"""What the recognizer gives, in this order."""


class LazyReader:
    """A `Reader` of a prepared folder that loads on first use. Safe to use from threads."""

    def __init__(self, folder: Path, n_threads: int | None = None) -> None:
        self._reader = Resting(partial(open_reader, folder, n_threads))

    def look(self, picture: RgbPicture) -> list[Box]:
        """See `Reader.look`."""
        return self._reader.get().look(picture)

    def confirms(self, picture: RgbPicture, seen_boxes: Sequence[Box]) -> bool:
        """See `Reader.confirms`."""
        return self._reader.get().confirms(picture, seen_boxes)

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """See `Reader.read`."""
        return self.read_all(picture) if self.look(picture) else []

    def read_all(self, picture: RgbPicture) -> list[ReadText]:
        """See `Reader.read_all`; a page leaves 80 MB behind, which are given back."""
        lines = self._reader.get().read_all(picture)
        give_back()
        return lines


def open_reader(
    folder: Path, n_threads: int | None = None, limits: ReadingLimits = LIMITS
) -> Reader:
    """The reader of a prepared folder; raises a ModelError if a network cannot be run."""

    def open_recognizer(threads: int | None) -> Session:
        return open_onnx(folder / RECOGNIZER, threads)

    return Reader(
        open_onnx(folder / DETECTOR, n_threads),
        side_by_side(open_recognizer, n_threads),
        open_onnx(folder / TURN_CLASSIFIER, 1),
        read_characters(folder / CHARACTERS),
        limits,
    )
