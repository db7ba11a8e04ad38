"""Split files into folds. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_FOLDS = 5


def folds(n_files: int) -> Iterator[NDArray[np.bool_]]:
    """Which of the files each fold leaves out, [n_files]; the same each time.

    There must be at least as many files as folds (5).
    """
    fold_of = np.random.default_rng(0).permutation(n_files) % _FOLDS
    return (fold_of == fold for fold in range(_FOLDS))
