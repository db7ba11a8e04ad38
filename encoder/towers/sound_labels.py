"""Pure: from what the networks hear to a point in the space of sentences.

A sound's embedding is the sum of its likeliest names' embeddings, weighted by their probability
(ConSE, Norouzi et al. 2013). The names are the categories of the Universal Category System.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.space import l2_normalize

TABLE = Path(__file__).parents[1] / "models" / "tables" / "sound_labels.npz"
_TEMPERATURE = 2.0
_N_NAMES = 10

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SoundLabels:
    """Names of sounds and their places in the space.

    Args:
        ucs: unit embeddings of the UCS categories, float32 [82, embed_dim].
        columns: for each classifier of the network the category of each of its classes.
    """

    ucs: Floats
    columns: Sequence[NDArray[np.int64]]


def load_sound_labels(path: Path = TABLE) -> SoundLabels:
    """Read the table that ``scripts/build_sound_labels.py`` wrote.

    Raises:
        ModelError: the table is missing or damaged.
    """
    try:
        with np.load(path) as table:
            ucs = table["ucs_embeddings"].astype(np.float32)
            columns = [table[f"ucs_columns_{head}"].astype(np.int64) for head in range(2)]
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            f"The sound labels {path} cannot be read: {error}.", remedy="Install anymodal again."
        ) from error
    return SoundLabels(l2_normalize(ucs), columns)


def ucs_probabilities(logits: Sequence[Floats], labels: SoundLabels) -> Floats:
    """How likely each category is, from each classifier's logits [n_blocks, n_classes].

    The mean over classifiers and blocks, float32 [82].
    """
    total = np.zeros(len(labels.ucs), np.float32)
    for scores, columns in zip(logits, labels.columns, strict=True):
        total[columns] += softmax(scores / _TEMPERATURE).mean(axis=0)
    return total / np.float32(len(logits))


def softmax(logits: Floats) -> Floats:
    """Probabilities over the last axis."""
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True), np.float32)


def point(probabilities: Floats, embeddings: Floats) -> Floats:
    """The likeliest names' weighted mean, float32 [embed_dim], of unit length."""
    top = np.argsort(-probabilities, kind="stable")[:_N_NAMES]
    return l2_normalize(probabilities[top] @ embeddings[top])
