"""The files of a round, and what must become of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

_CORRUPT_EVERY = 20
_COPY_EVERY = 15


def make_media(folder: Path, n_files: int, seed: int) -> None:
    """Texts, pictures and sounds; some broken; some with the content of another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(n_files):
        name = folder / f"{number:04d}"
        if number % _CORRUPT_EVERY == 7:
            name.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20 + number))
        elif number % _COPY_EVERY == 11:
            name.with_suffix(".txt").write_text(_words(seed, number - 1))
        elif number % 5 == 3:
            noise = rng.integers(0, 255, (24, 32, 3), np.uint8)
            Image.fromarray(noise).save(name.with_suffix(".png"))
        elif number % 12 == 4:
            sound = rng.normal(0, 0.1, 8000).astype(np.float32)
            soundfile.write(name.with_suffix(".wav"), sound, 8000)
        else:
            name.with_suffix(".txt").write_text(_words(seed, number))


def _words(seed: int, number: int) -> str:
    return "\n\n".join(f"Round {seed}, note {number}, part {part}. " * 20 for part in range(3))


def expected(folder: Path) -> tuple[set[str], dict[bytes, list[str]]]:
    """The names of broken files, and the other names by content."""
    broken: set[str] = set()
    contents: dict[bytes, list[str]] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if content.startswith(b"\x89PNG") and not content.endswith(b"IEND\xaeB`\x82"):
            broken.add(path.name)
        else:
            contents.setdefault(content, []).append(path.name)
    return broken, contents
