"""Measure `encoder/models/bundle/ranges/`: activations of convolutional networks.

    python -m scripts.fit_activation_ranges --pictures FOLDER
    python -m scripts.fit_activation_ranges --packages FOLDER --work FOLDER

``--pictures`` holds imagenet-sample-images, one picture for each class. Those
of every eighth class are measured, so that the others can judge the result.

``--packages`` holds the packages that `scripts.sound_corpus` names, and ``--work`` is where their
sounds are unpacked. Every fourth recording, as it is and in a variant, and every fourth recipe of
sounds made here are measured, the first 7 s of each. What is int8, and how the ranges are found,
was decided by the cosines of 165 other sounds' embeddings to float:

| range of aiSFX's activations, first layer float | mean | 5 % | least |
|---|---|---|---|
| least and greatest value | .9992 | .9963 | .9922 |
| **99.999 percentile** | .9997 | .9985 | .9960 |
| 99.99 percentile | .9994 | .9974 | .9874 |
| 99.9 percentile | .9971 | .9875 | .9587 |
| of least squared error | .9995 | .9982 | .9930 |
| 99.999 percentile, first layer int8 too | .9986 | .9958 | .9844 |
| 99.999 percentile, second layer float too (1.7 times slower) | .9998 | .9990 | .9963 |

Raise the parts' ``recipe`` in ``encoder/models/bundle/bundles`` when their ranges change.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from encoder.media.image import load_image
from encoder.models.bundle.declaration import AUDIO_RANGES, IMAGE_RANGES, read_bundle
from encoder.models.bundle.kinds import AUDIO_FLOAT
from encoder.onnx.static import Range, activation_ranges
from encoder.prepare.bundle.fetch import fetch
from encoder.runtime.base import Array
from encoder.towers.audio.logmel import mel_power
from encoder.towers.audio.tower import cut, loud_frames
from encoder.towers.image import load as load_tower
from encoder.types import Waveform
from scripts import build_sound_labels

EVERY_PICTURE, EVERY_SOUND = 8, 4
MOST_BLOCKS = 3
BEYOND = 1e-5
_SOURCES = Path(__file__).with_name("sound_sources.tsv")


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--packages", type=Path, help="of sounds")
    parser.add_argument("--work", type=Path, help="where sounds are unpacked")
    given = parser.parse_args()
    if not given.pictures and not (given.packages and given.work):
        parser.error("--pictures is wanted, or --packages and --work")
    if given.pictures:
        fit_image(given.pictures)
    if given.packages and given.work:
        fit_audio(given.packages, given.work)


def fit_image(folder: Path) -> None:
    """Write the image network's ranges."""
    fitted = sorted(folder.glob("n*.JPEG"))[::EVERY_PICTURE]
    part = fetch(read_bundle("english")) / "image"
    tower = load_tower(part, np.zeros((1000, 1), np.float32))
    inputs = [{"pixels": tower.prepare(load_image(path))[None]} for path in fitted]
    _write(IMAGE_RANGES, activation_ranges(part / "model.onnx", inputs), f"{len(fitted)} pictures")


def fit_audio(packages: Path, work: Path) -> None:
    """Write the sound network's ranges."""
    build_sound_labels.sound_corpus.extract(packages, work)
    sounds = fitted_sounds(work)
    inputs = [{"blocks": block[None]} for sound in sounds for block in _blocks(sound)]
    ranges = activation_ranges(
        fetch(read_bundle("english")) / "audio" / "model.onnx",
        inputs,
        keep=AUDIO_FLOAT,
        beyond=BEYOND,
    )
    _write(AUDIO_RANGES, ranges, f"{len(sounds)} sounds")


def fitted_sounds(work: Path) -> list[Waveform]:
    """The sounds that are measured; examples come in threes per recording, and in made copies."""
    rows = build_sound_labels.read_rows(_SOURCES)
    recorded = build_sound_labels.recorded_examples(work, rows)
    made = build_sound_labels.synthetic_examples(n_each=2)
    picked = [
        example
        for index, example in enumerate(recorded)
        if index // 3 % EVERY_SOUND == 0 and index % 3 < 2
    ]
    picked += [example for index, example in enumerate(made) if index // 2 % EVERY_SOUND == 0]
    return [example.load() for example in picked]


def _blocks(sound: Waveform) -> Array:
    power = mel_power(sound)
    start, end = loud_frames(power)
    return cut(power[start:end])[:MOST_BLOCKS]


def _write(path: Path, ranges: dict[str, Range], of: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(_as_json(ranges), "utf-8")
    print(f"{len(ranges)} ranges of {of} in {path}")


def _as_json(ranges: dict[str, Range]) -> str:
    """One line for each activation; float32 has no more than seven digits."""
    lines = (
        f"  {json.dumps(name)}: [{low:.7g}, {high:.7g}]" for name, (low, high) in ranges.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
