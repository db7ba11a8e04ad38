"""Photographs with captions that the picture head is fitted on: fetched, never committed.

    python -m scripts.captioned_pictures FOLDER

clones the `REPOSITORIES` that are missing into ``FOLDER``, one folder for each, named after the
repository. Without access to GitHub, put the files there by other means; these are read:

    coco_yolo/coco/images/{train,val}2017/*.jpg             2,693 of COCO's val2017
    COCO_Dataset/annotations/captions_val2017.json          captions and licences of val2017
    semantic-image-search/data/{captions.csv,images/}       1,999 of val2014, a caption each
    COCO-MINI/{train,val}2017/*.jpg, annotations/captions_train2017.json
    tiny_coco_dataset/tiny_coco/{train,val}2017/*.jpg, annotations/captions_train2017.json
    coco128_yolo/images/val2017/*.jpg
    COCO_Tiny/{train,val}2017/*.jpg

The captions are those of COCO 2017 (CC BY 4.0); each photograph has its own licence. Those in
`OPEN_LICENCES` allow derived works for any purpose. See ``encoder/models/LICENSES.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORIES = {
    "minto5z/coco_yolo": "4715f5ca05a6ffc148d4c4e5b0a131663655f2be",
    "lborke/COCO_Dataset": "71e935371c3d5aaebd936c3eb6369b69d18e0bc6",
    "Sarthak-Thareja/semantic-image-search": "c654ed3e96fbfd2217a76deb5b3ac5b485ce3bdb",
    "Obmutescence/COCO-MINI": "644f29e7c1d2eefd9c4412d39bc5b0ee6fd0afd4",
    "lizhogn/tiny_coco_dataset": "68523ddd6c27f9ba5d2f0caf7f6fe95cc2c99311",
    "lightly-ai/coco128_yolo": "6d6f7a059ea63efffdbe48aca2d52c04d4c510e9",
    "zzowenzz/COCO_Tiny": "e7a689f7d6d1a1908df287c3e79eccdadfdba1fe",
    "e-bug/iglue": "43cbac91513388d40b2c6d93925f00ca9fc08a98",
}
"""On GitHub, each at a commit."""

OPEN_LICENCES = frozenset({4, 5, 7, 8})
"""COCO's numbers: CC BY, CC BY-SA, no known restrictions, a work of the United States."""

_UNKNOWN_LICENCE = 0
_CAPTIONS = (
    "COCO_Dataset/annotations/captions_val2017.json",
    "tiny_coco_dataset/tiny_coco/annotations/captions_train2017.json",
    "COCO-MINI/annotations/captions_train2017.json",
)
_PICTURES = (
    "coco_yolo/coco/images/train2017",
    "coco_yolo/coco/images/val2017",
    "COCO-MINI/train2017",
    "COCO-MINI/val2017",
    "tiny_coco_dataset/tiny_coco/train2017",
    "tiny_coco_dataset/tiny_coco/val2017",
    "coco128_yolo/images/val2017",
    "COCO_Tiny/train2017",
    "COCO_Tiny/val2017",
)
_SINGLE = "semantic-image-search/data"


@dataclass(frozen=True)
class Captioned:
    """A photograph and what people said about it.

    Args:
        name: unique; COCO's number, or the file's name if that is not known.
        path: the file.
        captions: one or more sentences.
        licence: COCO's number of the photograph's licence; 0 if it is not known.
    """

    name: str
    path: Path
    captions: tuple[str, ...]
    licence: int


def main() -> None:
    """Fetch what is missing, and report what there is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    fetch(folder)
    pictures = read(folder)
    n_open = sum(picture.licence in OPEN_LICENCES for picture in pictures)
    print(f"{len(pictures)} photographs in {folder}, {n_open} of them openly licensed")


def fetch(folder: Path) -> None:
    """Clone the repositories that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for repository, commit in REPOSITORIES.items():
        target = folder / repository.partition("/")[2]
        if not target.exists():
            scratch = target.with_suffix(".partial")
            _git("clone", "--quiet", "--no-checkout", f"https://github.com/{repository}", scratch)
            _git("-C", scratch, "checkout", "--quiet", commit)
            scratch.rename(target)


def read(folder: Path) -> list[Captioned]:
    """All photographs, in an order that depends only on their names."""
    return [*_numbered(folder), *_single(folder)]


def _git(*arguments: str | Path) -> None:
    subprocess.run(["git", *arguments], check=True)


def _numbered(folder: Path) -> Iterator[Captioned]:
    """Photographs with COCO's numbers, which have about five captions."""
    captions: dict[int, tuple[str, ...]] = {}
    licences: dict[int, int] = {}
    for path in _CAPTIONS:
        listing = json.loads((folder / path).read_text("utf-8"))
        captions |= _by_number(listing)
        licences |= {image["id"]: image["license"] for image in listing["images"]}
    files: dict[int, Path] = {}
    for place in _PICTURES:
        for path in sorted((folder / place).glob("*.jpg")):
            files.setdefault(int(path.stem), path)
    for number in sorted(files.keys() & captions.keys()):
        yield Captioned(str(number), files[number], captions[number], licences[number])


def _by_number(listing: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for one in listing["annotations"]:
        number = one["image_id"]
        found[number] = (*found.get(number, ()), _plain(one["caption"]))
    return found


def _single(folder: Path) -> Iterator[Captioned]:
    """Photographs with only one known caption, and no number."""
    with (folder / _SINGLE / "captions.csv").open(encoding="utf-8", newline="") as file:
        captions = dict(csv.reader(file))
    for name in sorted(captions, key=lambda name: (len(name), name)):
        path = folder / _SINGLE / "images" / name
        if path.exists():
            yield Captioned(path.stem, path, (_plain(captions[name]),), _UNKNOWN_LICENCE)


def _plain(caption: str) -> str:
    return " ".join(caption.split())


if __name__ == "__main__":
    main()
