"""From what the recognizer sees along a line to its characters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_characters(path: Path) -> list[str]:
    """The recognizer's classes: nothing, then those of the file, one a line, then the space."""
    return ["", *path.read_text("utf-8").removesuffix("\n").split("\n"), " "]


def spell(
    sure: NDArray[np.float32], best: NDArray[np.int64], characters: Sequence[str]
) -> tuple[str, float]:
    """The most probable text by CTC's best path (Graves et al. 2006), and how sure it is, 0 to 1.

    Args:
        sure: how probable the best class is at each step, [n_steps].
        best: which it is; 0 is none.
        characters: of the classes.
    """
    begins = np.flatnonzero((best != 0) & (np.diff(best, prepend=-1) != 0))
    text = "".join(characters[one] for one in best[begins])
    return text.strip(), float(sure[begins].mean()) if len(begins) else 0.0
