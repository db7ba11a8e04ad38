"""Evaluation pictures: fetched, never committed.

- ``samples``: one picture for each of the 1000 ImageNet classes, from the public repository
  imagenet-sample-images. They are probably training images of the classifier: figures on them
  are optimistic.
- ``stamps``: photographs with an English caption each, from the Debian package
  tuxpaint-stamps-default: a different source, other subjects, cut out on a plain background.
- ``descriptions``: sentences about each class, written by a language model for "What does a
  platypus look like?" (Pratt et al., 2023), from the public repository CuPL.
"""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SAMPLES = "https://github.com/EliSchwartz/imagenet-sample-images"
_DESCRIPTIONS = "https://github.com/sarahpratt/CuPL"
_STAMPS = "tuxpaint-stamps-default"
_DRAWN = {"cartoon", "symbols", "people", "flags", "roadsigns"}
"""Folders of stamps that hold no photographs of things."""


@dataclass(frozen=True)
class Captioned:
    """A picture and the sentence that its makers gave it."""

    path: Path
    caption: str


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


def stamps(folder: Path) -> list[Captioned]:
    """The photographs among the stamps; fetched into ``folder`` if it is missing."""
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["apt-get", "download", _STAMPS], cwd=folder, check=True)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    pictures = [path for path in sorted(folder.rglob("*.png")) if not _DRAWN & set(path.parts)]
    return [
        Captioned(path, caption)
        for path in pictures
        if (caption := _caption(path.with_suffix(".txt")))
    ]


def _clone(repository: str, folder: Path) -> None:
    if not folder.exists():
        command = ["git", "clone", "--quiet", "--depth=1", repository, str(folder)]
        subprocess.run(command, check=True)


def _caption(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[0].strip() if path.exists() else ""
