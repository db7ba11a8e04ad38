"""Measure `encoder/models/ranges/image.json`: what the bundle's image network computes in int8.

    python -m scripts.fit_activation_ranges --pictures FOLDER

FOLDER holds one picture for each ImageNet class (see `benchmarks.quality_media.samples`). Those
of every eighth class are measured, so that the others can judge the result. Raise the image
part's ``recipe`` in `encoder.models.parts` when the ranges change.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.quality_media import samples
from encoder.media.image import load_image
from encoder.models.bundle import fetch
from encoder.models.prepare import IMAGE_RANGES
from encoder.quant.static import activation_ranges
from encoder.runtime.base import Array
from encoder.towers.image import ImageTower
from encoder.towers.image import load as load_tower

EVERY = 8
_WNIDS = Path(__file__).with_name("imagenet_wnids.txt")


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=Path, required=True)
    pictures = samples(parser.parse_args().pictures)
    fitted = [pictures[wnid] for wnid in _WNIDS.read_text("utf-8").split()[::EVERY]]

    folder = fetch() / "image"
    tower = load_tower(folder, np.zeros((1000, 1), np.float32))
    ranges = activation_ranges(folder / "model.onnx", _inputs(tower, fitted))
    IMAGE_RANGES.parent.mkdir(exist_ok=True)
    IMAGE_RANGES.write_text(_as_json(ranges), "utf-8")
    print(f"{len(ranges)} ranges of {len(fitted)} pictures in {IMAGE_RANGES}")


def _inputs(tower: ImageTower, paths: list[Path]) -> Iterator[dict[str, Array]]:
    for path in paths:
        yield {"pixels": tower.prepare(load_image(path))[None]}


def _as_json(ranges: dict[str, tuple[float, float]]) -> str:
    """One line for each activation; seven digits are all that float32 has."""
    lines = (
        f"  {json.dumps(name)}: [{low:.7g}, {high:.7g}]" for name, (low, high) in ranges.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
