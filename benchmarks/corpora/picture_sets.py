"""Evaluation pictures: fetched, never committed.

- ``samples``: one picture for each of the 1000 ImageNet classes, from the public repository
  imagenet-sample-images. They are probably training images of the classifier: figures on them
  are optimistic.
- ``descriptions``: sentences about each class, written by a language model for "What does a
  platypus look like?" (Pratt et al., 2023), from the public repository CuPL.
"""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SAMPLES = "https://github.com/EliSchwartz/imagenet-sample-images"
_DESCRIPTIONS = "https://github.com/sarahpratt/CuPL"
WNIDS = Path(__file__).parents[2] / "scripts" / "imagenet_wnids.txt"
"""The classes, in ImageNet's order."""


def samples(folder: Path) -> Mapping[str, Path]:
    """The sample pictures by WordNet id; cloned into ``folder`` if it is missing."""
    _clone(_SAMPLES, folder)
    return {path.name.split("_")[0]: path for path in sorted(folder.glob("n*.JPEG"))}


def descriptions(folder: Path) -> list[tuple[str, list[str]]]:
    """Each class's name and sentences, in ImageNet's order; cloned if ``folder`` is missing."""
    _clone(_DESCRIPTIONS, folder)
    listing = (folder / "imagenet_classnames" / "imagenet_classes.py").read_text("utf-8")
    names: list[str] = ast.literal_eval(listing[listing.index("[") : listing.index("]") + 1])
    prompts = folder / "all_prompts" / "base_prompts" / "imagenet_prompts_base.json"
    sentences: dict[str, list[str]] = json.loads(prompts.read_text("utf-8"))
    return [(name, sentences[name]) for name in names]


def _clone(repository: str, folder: Path) -> None:
    if not folder.exists():
        command = ["git", "clone", "--quiet", "--depth=1", repository, str(folder)]
        subprocess.run(command, check=True)
