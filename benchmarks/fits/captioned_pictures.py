"""Photographs with captions that the picture head is fitted on: fetched, never committed.

The captions are those of COCO 2017 (CC BY 4.0); each photograph has its own licence. Those in
`OPEN_LICENCES` allow derived works for any purpose. See ``encoder/models/LICENSES.md``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.sources import Repository


def _github(name: str, commit: str) -> Repository:
    return Repository(f"https://github.com/{name}", commit, "of COCO, see above")


_YOLO = _github("minto5z/coco_yolo", "4715f5ca05a6ffc148d4c4e5b0a131663655f2be")
_VAL_2017 = _github("lborke/COCO_Dataset", "71e935371c3d5aaebd936c3eb6369b69d18e0bc6")
_VAL_2014 = _github(
    "Sarthak-Thareja/semantic-image-search", "c654ed3e96fbfd2217a76deb5b3ac5b485ce3bdb"
)
_MINI = _github("Obmutescence/COCO-MINI", "644f29e7c1d2eefd9c4412d39bc5b0ee6fd0afd4")
_TINY = _github("lizhogn/tiny_coco_dataset", "68523ddd6c27f9ba5d2f0caf7f6fe95cc2c99311")
_OF_128 = _github("lightly-ai/coco128_yolo", "6d6f7a059ea63efffdbe48aca2d52c04d4c510e9")
_TINY_SETS = _github("zzowenzz/COCO_Tiny", "e7a689f7d6d1a1908df287c3e79eccdadfdba1fe")
IGLUE = _github("e-bug/iglue", "43cbac91513388d40b2c6d93925f00ca9fc08a98")

OPEN_LICENCES = frozenset({4, 5, 7, 8})
"""COCO's numbers: CC BY, CC BY-SA, no known restrictions, a work of the United States."""

_UNKNOWN_LICENCE = 0
_CAPTIONS = (
    (_VAL_2017, "annotations/captions_val2017.json"),
    (_TINY, "tiny_coco/annotations/captions_train2017.json"),
    (_MINI, "annotations/captions_train2017.json"),
)
_PICTURES = (
    (_YOLO, "coco/images/train2017"),
    (_YOLO, "coco/images/val2017"),
    (_MINI, "train2017"),
    (_MINI, "val2017"),
    (_TINY, "tiny_coco/train2017"),
    (_TINY, "tiny_coco/val2017"),
    (_OF_128, "images/val2017"),
    (_TINY_SETS, "train2017"),
    (_TINY_SETS, "val2017"),
)


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


def read() -> list[Captioned]:
    """All photographs, in an order that depends only on their names."""
    return [*_numbered(), *_single()]


def _numbered() -> Iterator[Captioned]:
    """Photographs with COCO's numbers, which have about five captions."""
    captions: dict[int, tuple[str, ...]] = {}
    licences: dict[int, int] = {}
    for repository, name in _CAPTIONS:
        listing = json.loads((repository.files() / name).read_text("utf-8"))
        captions |= _by_number(listing)
        licences |= {image["id"]: image["license"] for image in listing["images"]}
    files: dict[int, Path] = {}
    for repository, name in _PICTURES:
        for path in sorted((repository.files() / name).glob("*.jpg")):
            files.setdefault(int(path.stem), path)
    for number in sorted(files.keys() & captions.keys()):
        yield Captioned(str(number), files[number], captions[number], licences[number])


def _by_number(listing: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    captions: dict[int, tuple[str, ...]] = {}
    for annotation in listing["annotations"]:
        number = annotation["image_id"]
        captions[number] = (*captions.get(number, ()), _plain(annotation["caption"]))
    return captions


def _single() -> Iterator[Captioned]:
    """Photographs with only one known caption, and no number."""
    data = _VAL_2014.files() / "data"
    with (data / "captions.csv").open(encoding="utf-8", newline="") as file:
        captions = dict(csv.reader(file))
    for name in sorted(captions, key=lambda name: (len(name), name)):
        path = data / "images" / name
        if path.exists():
            yield Captioned(path.stem, path, (_plain(captions[name]),), _UNKNOWN_LICENCE)


def _plain(caption: str) -> str:
    return " ".join(caption.split())
