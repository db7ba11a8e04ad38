"""Pure: from what the networks hear to a point in the space of sentences.

A sound's embedding is the sum of its likeliest names' embeddings, weighted by their probability
(ConSE, Norouzi et al. 2013). There are three lists of names: AudioSet's classes, which YAMNet
predicts and which weigh most; the broad categories of the Universal Category System, which aiSFX
predicts by itself; and some two hundred finer names, which a linear classifier on the features of
aiSFX predicts.
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
_N_CLASSES = 15
# No feature may be further from its mean than this many deviations, not even for a strange sound.
_FARTHEST = 5.0
_BLOCK_FEATURES = 512

SoundArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClassPlaces:
    """Where YAMNet's classes lie, in one or more groups of languages; see `load_class_places`.

    Args:
        weights: of the classes, float32 [n_classes]; scenes and noise have none.
        places: float32 [n_rows, n_classes, embed_dim].
        share: of the row of the other two lists of names, beside each of these.
    """

    weights: SoundArray
    places: SoundArray
    share: SoundArray

    def rows(self, scores: SoundArray) -> SoundArray:
        """The likeliest classes' weighted sums, unit rows [n_rows, embed_dim]; zero without any.

        Args:
            scores: float32 [n_classes], from 0 to 1.
        """
        weighted = scores * self.weights
        top = np.argsort(-weighted, kind="stable")[:_N_CLASSES]
        return l2_normalize(np.sqrt(weighted[top]) @ self.places[:, top])


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

    def probabilities(self, features: SoundArray) -> SoundArray:
        """How likely each name is, float32 [n_names]."""
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
            # MiniLM's table was fitted with features of a speech model beside those of the sound
            # network. Unknown, as here, they count as their mean.
            n_fitted = len(arrays["mean"])
            for name in ("mean", "deviation", "weights"):
                arrays[name] = arrays[name][: 2 * _BLOCK_FEATURES]
            arrays["weights"] *= np.sqrt(np.float32(len(arrays["mean"]) / n_fitted))
            head = SoundHead(**arrays, share=share)
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error
    return SoundLabels(l2_normalize(ucs), columns, head)


def load_class_places(path: Path) -> ClassPlaces:
    """Read what ``scripts/build_sound_labels.py --classes`` wrote; a ModelError if damaged."""
    try:
        with np.load(path) as table:
            arrays = (table[name].astype(np.float32) for name in ("weights", "places", "share"))
            return ClassPlaces(*arrays)
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"The sound labels {path} cannot be read: {error}.", remedy="Install anymodal again."
    )


def ucs_probabilities(logits: Sequence[SoundArray], labels: SoundLabels) -> SoundArray:
    """How likely each category is, from each classifier's logits [n_blocks, n_classes].

    The mean over classifiers and blocks, float32 [82].
    """
    total = np.zeros(len(labels.ucs), np.float32)
    for scores, columns in zip(logits, labels.columns, strict=True):
        total[columns] += softmax(scores / _TEMPERATURE).mean(axis=0)
    return total / np.float32(len(logits))


def sound_features(blocks: SoundArray) -> SoundArray:
    """What the sound head sees, float32 [2 * n], from features of each block [n_blocks, n]."""
    over_time = np.concatenate([blocks.mean(axis=0), blocks.max(axis=0)])
    return np.asarray(np.log1p(over_time), np.float32)


def standardize(features: SoundArray, mean: SoundArray, deviation: SoundArray) -> SoundArray:
    """Bring features [..., n] to one scale, so that a row's length is about 1."""
    scaled = np.clip((features - mean) / deviation, -_FARTHEST, _FARTHEST)
    return np.asarray(scaled / np.sqrt(len(mean)), np.float32)


def softmax(logits: SoundArray) -> SoundArray:
    """Probabilities over the last axis."""
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True), np.float32)


def point(probabilities: SoundArray, embeddings: SoundArray) -> SoundArray:
    """The likeliest names' weighted mean, float32 [embed_dim], of unit length."""
    top = np.argsort(-probabilities, kind="stable")[:_N_NAMES]
    return l2_normalize(probabilities[top] @ embeddings[top])
