"""Open the text reader in a folder."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from encoder.models.precision import open_shared, side_by_side
from encoder.ocr.reader import LIMITS, Limits, Reader
from encoder.ocr.spelling import read_characters
from encoder.runtime.base import Session
from encoder.system.allocator import give_back
from encoder.types import ReadText, RgbPicture

DETECTOR, RECOGNIZER, TURN_CLASSIFIER = "detector.onnx", "recognizer.onnx", "turn.onnx"
CHARACTERS = "characters.txt"
"""Files of the folder; the networks are made from those that have `SOURCE` before their names."""

SOURCE = "source-"

SURE, BEST = "sure", "best"
"""What the recognizer gives, in this order."""


class LazyReader:
    """A reader that loads on first use. Safe to use from threads.

    Args:
        folder: holds the three networks and the recognizer's characters.
        n_threads: threads of one network; None for every core.
        limits: see `Limits`.
    """

    def __init__(self, folder: Path, n_threads: int | None = None, limits: Limits = LIMITS) -> None:
        self._folder = folder
        self._n_threads = n_threads
        self._limits = limits
        self._lock = Lock()
        self._reader: Reader | None = None

    def has_text(self, picture: RgbPicture) -> bool:
        """See `Reader.has_text`."""
        return self._loaded().has_text(picture)

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """See `Reader.read`; a page leaves 80 MB behind, which are given back."""
        found = self._loaded().read(picture)
        give_back()
        return found

    def _loaded(self) -> Reader:
        with self._lock:
            if self._reader is None:
                self._reader = open_reader(self._folder, self._n_threads, self._limits)
        return self._reader


def open_reader(folder: Path, n_threads: int | None = None, limits: Limits = LIMITS) -> Reader:
    """The reader of a prepared folder, loaded; the arguments are those of `LazyReader`.

    Raises:
        ModelError: a network cannot be run.
    """

    def open_recognizer(threads: int | None) -> Session:
        return open_shared(folder / RECOGNIZER, threads)

    return Reader(
        open_shared(folder / DETECTOR, n_threads),
        side_by_side(open_recognizer, n_threads),
        open_shared(folder / TURN_CLASSIFIER, 1),
        read_characters(folder / CHARACTERS),
        limits,
    )
