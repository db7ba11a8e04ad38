"""Pure: from what the networks hear to a point in the space of sentences.

A sound's embedding is the sum of its likeliest names' embeddings, weighted by their probability
(ConSE, Norouzi et al. 2013). There are two lists of names: the broad categories of the Universal
Category System, which the sound network predicts by itself, and some two hundred finer names, which
a linear classifier on the features of both networks predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.space import l2_normalize

_TEMPERATURE = 2.0
_N_NAMES = 10
# No feature may be further from its mean than this many deviations, not even for a strange sound.
_FARTHEST = 5.0
_BLOCK_FEATURES = 512

SoundArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SoundLabels:
    """Names of sounds and their places in the space.

    Args:
        ucs: unit embeddings of the UCS categories, float32 [82, embed_dim].
        columns: for each classifier of the network, the category of each of its classes.
    """

    ucs: SoundArray
    columns: Sequence[NDArray[np.int64]]
    head: SoundHead


@dataclass(frozen=True, eq=False)
class SoundHead:
    """A linear classifier of sounds by finer names, whose unit embeddings are [n_names, embed_dim].

    ``weights`` are float32 [n_features, n_names], for features less their mean and divided by their
    deviation; ``share`` is the weight of its names, against 1 for the categories.
    """

    mean: SoundArray
    deviation: SoundArray
    weights: SoundArray
    bias: SoundArray
    embeddings: SoundArray
    share: float = 1.0

    @property
    def n_speech_features(self) -> int:
        """How many of the features are the speech model's; 0 if it does without them."""
        return len(self.mean) - 2 * _BLOCK_FEATURES

    def probabilities(self, features: SoundArray) -> SoundArray:
        """How likely each name is, float32 [n_names]; a feature that is not known is NaN."""
        scaled = standardize(features, self.mean, self.deviation)
        return softmax(scaled @ self.weights + self.bias)


def load_sound_labels(path: Path) -> SoundLabels:
    """Read what ``scripts/build_sound_labels.py`` wrote; raises a ModelError if it is damaged."""
    try:
        with np.load(path) as table:
            ucs = table["ucs_embeddings"].astype(np.float32)
            columns = [table[f"ucs_columns_{head}"].astype(np.int64) for head in range(2)]
            names = ("mean", "deviation", "weights", "bias", "embeddings")
            share = float(table["head_share"]) if "head_share" in table else 1.0
            arrays = {name: table[f"head_{name}"].astype(np.float32) for name in names}
            head = SoundHead(**arrays, share=share)
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            f"The sound labels {path} cannot be read: {error}.", remedy="Install anymodal again."
        ) from error
    return SoundLabels(l2_normalize(ucs), columns, head)


def ucs_probabilities(logits: Sequence[SoundArray], labels: SoundLabels) -> SoundArray:
    """How likely each category is, from each classifier's logits [n_blocks, n_classes].

    The mean over classifiers and blocks, float32 [82].
    """
    total = np.zeros(len(labels.ucs), np.float32)
    for scores, columns in zip(logits, labels.columns, strict=True):
        total[columns] += softmax(scores / _TEMPERATURE).mean(axis=0)
    return total / np.float32(len(logits))


def sound_features(blocks: SoundArray, speech: SoundArray) -> SoundArray:
    """What the sound head sees, float32 [2 * n + m].

    From the sound network's features of each block [n_blocks, n], and the speech model's [m].
    """
    over_time = np.concatenate([blocks.mean(axis=0), blocks.max(axis=0)])
    return np.concatenate([np.log1p(over_time), speech])


def standardize(features: SoundArray, mean: SoundArray, deviation: SoundArray) -> SoundArray:
    """Bring features [..., n] to one scale, so that a row's length is about 1; NaN becomes 0."""
    scaled = np.clip((features - mean) / deviation, -_FARTHEST, _FARTHEST)
    return np.asarray(np.nan_to_num(scaled) / np.sqrt(len(mean)), np.float32)


def softmax(logits: SoundArray) -> SoundArray:
    """Probabilities over the last axis."""
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True), np.float32)


def point(probabilities: SoundArray, embeddings: SoundArray) -> SoundArray:
    """The likeliest names' weighted mean, float32 [embed_dim], of unit length."""
    top = np.argsort(-probabilities, kind="stable")[:_N_NAMES]
    return l2_normalize(probabilities[top] @ embeddings[top])
