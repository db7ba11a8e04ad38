"""One picture for each of the 1000 ImageNet classes.

They are probably training images of classifiers: figures on them are optimistic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.sources import Repository

_SAMPLES = Repository(
    "https://github.com/EliSchwartz/imagenet-sample-images",
    "bc69043e2862758a1906c6a24a792bb28c6bb2ff",
    "each picture its owner's",
)


def samples() -> Mapping[str, Path]:
    """The pictures by WordNet id, in ImageNet's order, which is that of the ids."""
    return {path.name.split("_")[0]: path for path in sorted(_SAMPLES.files().glob("n*.JPEG"))}
