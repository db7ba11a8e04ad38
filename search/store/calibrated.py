"""Vectors by whose inner products one search ranks all modalities. Pure.

A mixed list compares ``(cos(q, v) - shift * mu) / c``, with the constants of the target's modality
(`encoder.space.Calibration`). That is the inner product of ``[q, shift]`` and ``[v / c, -mu / c]``:
the second is what a store keeps, so that it finds the best of all modalities by one search, and
not by one for each. Within a modality the order is that of the cosines.

Each row names the constants it was written with, so that a store can change to others while it is
searched: see `search.store.milvus_calibration`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

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


def from_stored(row: Embeddings) -> Embeddings:
    """The unit vector [embed_dim] of which this was kept, with any constants."""
    kept: Embeddings = l2_normalize(np.asarray(row, np.float32)[None, :-1])[0]
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


@dataclass(frozen=True)
class StoredCalibration:
    """What a store says of its calibration.

    Args:
        constants: by them it ranks, and new rows are written.
        former: others, with which rows may still be written: a rewrite is under way, or was.
        about: where the constants came from, in plain values; ``source`` is "none", "shipped" (by
            the model) or "measured".
    """

    constants: Constants = field(default_factory=dict)
    former: tuple[Constants, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_number(self) -> dict[int, Constants]:
        """All constants of rows, by what `number_of` makes of them; former ones first."""
        return {number_of(one): one for one in (*self.former, self.constants)}

    def changed(self, constants: Constants, about: Mapping[str, Any]) -> StoredCalibration:
        """The same store once it is to have other constants."""
        others = {**self.by_number}
        others.pop(number_of(constants), None)
        return StoredCalibration(constants, tuple(others.values()), about)


def unmeasured(constants: Constants) -> StoredCalibration:
    """That of a new store, which has what the model ships."""
    return StoredCalibration(constants, (), {"source": "shipped" if constants else "none"})


def number_of(constants: Constants) -> int:
    """What a row names its constants by: 63 bits of their hash."""
    return _number(tuple(sorted((str(kind), one.mu, one.c) for kind, one in constants.items())))


@lru_cache(64)
def _number(constants: tuple[tuple[str, float, float], ...]) -> int:
    digest = hashlib.sha256(json.dumps(constants).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def written(state: StoredCalibration) -> str:
    """As text, to be kept beside what is stored."""
    constants, *former = map(_plain, (state.constants, *state.former))
    facts = {"constants": constants, "former": former, "about": dict(state.about)}
    return json.dumps(facts, ensure_ascii=False)


def read(text: str) -> StoredCalibration:
    """What `written` wrote.

    >>> read(written(unmeasured({Modality("text"): Calibration(0.06, 0.155)}))).constants
    {'text': Calibration(mu=0.06, c=0.155)}
    """
    facts = json.loads(text)
    former = tuple(map(_read, facts["former"]))
    return StoredCalibration(_read(facts["constants"]), former, facts["about"])


def _plain(constants: Constants) -> dict[str, list[float]]:
    return {str(kind): [one.mu, one.c] for kind, one in sorted(constants.items())}


def _read(constants: Mapping[str, list[float]]) -> Constants:
    return {Modality(kind): Calibration(mu, c) for kind, (mu, c) in constants.items()}
