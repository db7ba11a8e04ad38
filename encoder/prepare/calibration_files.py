"""What users provide to calibrate with: texts, pictures and sounds in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from encoder.errors import InputError
from encoder.models.bundle.declaration import IMAGE_LABELS

BATCH_ITEMS = 16
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus"}
_TEXTS = {".txt", ".md", ".rst"}
_MIN_CHARACTERS = 20

T = TypeVar("T")


def texts(source: Path | None, max_items: int) -> list[str]:
    """Texts to calibrate with, evenly drawn: the paragraphs of a file or of a folder's files.

    Without a source: paragraphs of Python's language reference, which comes with every Python, and
    the names of the image labels.
    """
    if source is None:
        return _texts_that_come_along(max_items)
    paths = [source] if source.is_file() else files(source, _TEXTS, "texts", max_items)
    pieces = [
        paragraph
        for path in paths
        for paragraph in paragraphs(path.read_text("utf-8", errors="replace"))
    ]
    if not pieces:
        raise InputError("calibration", got=f"no text in {source}", wanted="files with text")
    return evenly(pieces, max_items)


def paragraphs(text: str) -> Iterator[str]:
    """Pieces between blank lines, on one line each; those too short to say anything are left out.

    >>> list(paragraphs("Title\\n\\nA sentence that goes\\non, and on."))
    ['A sentence that goes on, and on.']
    """
    for piece in text.split("\n\n"):
        if len(line := " ".join(piece.split())) >= _MIN_CHARACTERS:
            yield line


def _texts_that_come_along(max_items: int) -> list[str]:
    from pydoc_data.topics import topics

    reference = [line for name in sorted(topics) for line in paragraphs(topics[name])]
    names: list[str] = np.load(IMAGE_LABELS)["names"].tolist()
    half = max_items // 2
    return evenly(reference, half) + evenly(names, half)


def files(source: Path | None, suffixes: set[str], what: str, max_items: int) -> list[Path]:
    """Files of a kind below ``source``, evenly drawn.

    Raises:
        InputError: no folder was given, or it holds none.
    """
    expected = f"a folder with {what} ({', '.join(sorted(suffixes))})"
    if source is None:
        raise InputError("calibration", got="nothing", wanted=expected)
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise InputError("calibration", got=f"{source}, which holds none", wanted=expected)
    return evenly(paths, max_items)


def evenly(items: Sequence[T], n: int) -> list[T]:
    """At most ``n`` items, spread over all of them.

    >>> evenly("abcdef", 3)
    ['a', 'c', 'e']
    """
    step = max(1.0, len(items) / n)
    return [items[int(i * step)] for i in range(min(n, len(items)))]


def mixed(items: Iterable[T]) -> list[T]:
    """The items in shuffled order, the same each time, so that any first few are a sample."""
    in_order = list(items)
    return [in_order[i] for i in np.random.default_rng(0).permutation(len(in_order))]
