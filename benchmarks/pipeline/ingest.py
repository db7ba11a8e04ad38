"""A thousand mixed files through the command line: time by stage, and peak memory.

The files are made from the demo's samples: texts of random words, crops of pictures, cuts of
sounds, and the film. Run by ``make bench-ingest``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from shutil import copy
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.harness.results_pages import table, write_section
from encoder.media import load_image, load_sound
from examples.samples import make_samples

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


def main() -> None:
    """Make the corpus, ingest it twice in fresh processes, and write the section."""
    with tempfile.TemporaryDirectory() as scratch:
        media = Path(scratch) / "media"
        media.mkdir()
        samples = Path(scratch) / "samples"
        make_samples(samples)
        make_corpus(media, samples)
        first, again = (_ingest(media, Path(scratch) / "store") for _ in range(2))
    memory_mb = getrusage(RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = [[stage, f"{seconds:.1f}"] for stage, seconds in first["stage_s"].items()]
    rows.append(["**wall time**", f"**{first['wall_s']:.1f}**"])
    rows.append(["wall time of the second run (nothing changed)", f"{again['wall_s']:.1f}"])
    body = (
        f"{first['ingested'] + first['unchanged']} files, {sum(first['segments'].values())} "
        f"segments, embedded store, peak memory {memory_mb:.0f} MB (bar: < 1,200 MB). Stages are "
        "sums over threads.\n\n" + table(["stage", "s"], rows)
    )
    write_section("A thousand mixed files", "make bench-ingest", body)
    print(body)


def _ingest(media: Path, store: Path) -> Any:
    anymodal = Path(sys.executable).with_name("anymodal")
    ran = subprocess.run(
        [anymodal, "ingest", media, "--store", store, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ,
    )
    return json.loads(ran.stdout)


if __name__ == "__main__":
    main()
