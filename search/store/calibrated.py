"""Vectors by whose inner products one search ranks all modalities. Pure.

A mixed list compares ``(cos(q, v) - shift * mu) / c``, with the constants of the target's modality
(`encoder.space.Calibration`). That is the inner product of ``[q, shift]`` and ``[v / c, -mu / c]``:
the second is what a store keeps, so that it finds the best of all modalities by one search, and
not by one for each. Within a modality the order is that of the cosines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.space import Calibration, l2_normalize
from encoder.types import Embeddings, Modality

Constants: TypeAlias = Mapping[Modality, Calibration]
"""By modality; a missing one is not calibrated."""

_NONE = Calibration()


def to_stored(embedding: Embeddings, modality: Modality, constants: Constants) -> Embeddings:
    """From a unit vector [embed_dim] to what is kept of it [embed_dim + 1]."""
    one = constants.get(modality, _NONE)
    row: Embeddings = np.append(embedding / one.c, -one.mu / one.c).astype(np.float32)
    return row


def from_stored(row: Embeddings, modality: Modality, constants: Constants) -> Embeddings:
    """The unit vector [embed_dim] of which this was kept [embed_dim + 1]."""
    one = constants.get(modality, _NONE)
    kept: Embeddings = l2_normalize(np.asarray(row, np.float32)[None, :-1] * np.float32(one.c))[0]
    return kept


def to_asked(queries: Embeddings, shift: float) -> Embeddings:
    """From unit rows [n, embed_dim] to what is searched for [n, embed_dim + 1]."""
    shifts = np.full((len(queries), 1), shift)
    return np.concatenate([queries, shifts], axis=1, dtype=np.float32)


def cosine_of(product: float, shift: float, modality: Modality, constants: Constants) -> float:
    """The cosine of which the inner product with what was searched for came."""
    one = constants.get(modality, _NONE)
    return product * one.c + shift * one.mu


def products_of(
    cosines: NDArray[np.float32], shift: float, modality: Modality, constants: Constants
) -> NDArray[np.float64]:
    """The inner products that cosines [...] become."""
    one = constants.get(modality, _NONE)
    return (cosines.astype(np.float64) - shift * one.mu) / one.c


def written(constants: Constants) -> str:
    """As text, to be kept beside what is stored."""
    return json.dumps({str(kind): [one.mu, one.c] for kind, one in sorted(constants.items())})


def read(text: str) -> Constants:
    """What `written` wrote.

    >>> read(written({Modality("text"): Calibration(0.06, 0.155)}))
    {'text': Calibration(mu=0.06, c=0.155)}
    """
    return {Modality(kind): Calibration(mu, c) for kind, (mu, c) in json.loads(text).items()}
