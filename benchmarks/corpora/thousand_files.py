"""A thousand mixed files, made from the demo's samples.

They are texts of random words, crops of pictures, cuts of sounds, and the film.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
from numpy.random import Generator

from encoder.media import load_image, load_sound

_WORDS = "river mountain engine bread harvest violin storm galaxy lantern harbour market".split()
_SHARES = {"txt": 500, "jpg": 350, "wav": 149}
_FILM = "film.mp4"
NAMES = sorted([f"{n}.{kind}" for kind, many in _SHARES.items() for n in range(many)] + [_FILM])
"""The names of the corpus's 1,000 files."""


def make_corpus(folder: Path, samples: Path, names: Sequence[str] = NAMES) -> None:
    """Write the files of these names into ``folder``; each name always has the same content."""
    pictures = [load_image(path) for path in sorted(samples.glob("*.png"))]
    sounds = [load_sound(path).samples for path in sorted(samples.glob("*.wav"))]
    for name in names:
        if name == _FILM:
            copy(samples / name, folder)
            continue
        path = folder / name
        number, rng = int(path.stem), np.random.default_rng(int(path.stem))
        if path.suffix == ".txt":
            words = rng.choice(_WORDS, int(rng.integers(8, 90)))
            path.write_text(f"{number} " + " ".join(words))
        elif path.suffix == ".jpg":
            _write_crop(path, pictures[number % len(pictures)], rng)
        else:
            _write_sound(path, rng.uniform(0.5, 1.0) * sounds[number % len(sounds)])


def _write_crop(path: Path, rgb: np.ndarray[Any, Any], rng: Generator) -> None:
    from PIL import Image

    height, width = rgb.shape[:2]
    top, left = rng.integers(0, height // 4), rng.integers(0, width // 4)
    Image.fromarray(rgb[top : top + 3 * height // 4, left : left + 3 * width // 4]).save(path)


def _write_sound(path: Path, samples: np.ndarray[Any, Any]) -> None:
    import soundfile

    soundfile.write(path, samples[: 5 * 44_100], 44_100)
