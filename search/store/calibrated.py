"""Vectors whose inner products rank all modalities in one search. Pure.

A mixed list compares ``(cos(q, v) - shift * mu) / c``, with the constants of the target's modality
(`encoder.space.Calibration`). That is the inner product of ``[q, shift]`` and ``[v / c, -mu / c]``:
the second is what a store keeps, so that it finds the best of all modalities by one search, and
not by one for each. Within a modality the order is that of the cosines.

If the segments of a modality have several vectors, each row has its own constants.

Each row names the constants it was written with, so that a store can change to others while it is
searched: see `search.store.milvus.calibration`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

import numpy as np

from encoder.space import UNCALIBRATED, Calibration, l2_normalize
from encoder.types import TEXT, Embeddings, Modality

Constants: TypeAlias = Mapping[Modality, Calibration]
"""By modality; a missing one is not calibrated."""


def to_stored(embedding: Embeddings, by: Calibration) -> Embeddings:
    """From a unit vector [embed_dim] to the stored vector [embed_dim + 1]."""
    stored_row: Embeddings = np.append(embedding / by.c, -by.mu / by.c).astype(np.float32)
    return stored_row


def from_stored(row: Embeddings) -> Embeddings:
    """The unit vector [embed_dim] of a stored vector, whatever its constants."""
    unit_row: Embeddings = l2_normalize(np.asarray(row, np.float32)[None, :-1])[0]
    return unit_row


def to_asked(queries: Embeddings, shift: float) -> Embeddings:
    """From unit rows [n, embed_dim] to the rows to search with [n, embed_dim + 1]."""
    shifts = np.full((len(queries), 1), shift)
    return np.concatenate([queries, shifts], axis=1, dtype=np.float32)


def cosine_of(product: float, shift: float, by: Calibration) -> float:
    """The cosine of an inner product with a row of `to_asked`."""
    return product * by.c + shift * by.mu


def constants_of(constants: Constants, modality: Modality, row: int = 0) -> Calibration:
    """The constants by which a row of a modality is calibrated."""
    return constants.get(modality, UNCALIBRATED).of_row(row)


PROBES = "probes"
"""The note of vectors by which a model that runs elsewhere is recognised; it never changes."""


@dataclass(frozen=True)
class StoredCalibration:
    """The calibration of a store.

    Args:
        constants: those by which it writes rows.
        former: others by which rows may still be written: a rewrite is or was under way.
        about: where the constants came from, in plain values; ``source`` is "none", "shipped" (by
            the model) or "measured". With ``reading``, hits are scored by these constants, while
            rows keep theirs. `PROBES` are here too, if the model runs elsewhere.
    """

    constants: Constants = field(default_factory=dict)
    former: tuple[Constants, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def reading(self) -> Constants:
        """The constants by which hits are scored."""
        return {**self.constants, **_read(self.about.get("reading", {}))}

    def renewed(self, shipped: Constants) -> StoredCalibration:
        """As if it was made with what the model ships now, unless somebody measured it.

        What it measured by itself, for reading, is beside what the model shipped then: it holds
        as long as that is what it ships.
        """
        constants = {**self.constants, **shipped}
        if self.about.get("source") == "shipped":
            return replace(self, constants=constants)
        if "reading" in self.about and self.about.get("beside") != number_of(shipped):
            return unmeasured(constants)
        return self

    @property
    def by_number(self) -> dict[int, Constants]:
        """All constants of rows, by their `number_of`; former ones first."""
        return {number_of(constants): constants for constants in (*self.former, self.constants)}

    def changed(self, constants: Constants, origin: Mapping[str, Any]) -> StoredCalibration:
        former = {**self.by_number}
        former.pop(number_of(constants), None)
        probes = {name: note for name, note in self.about.items() if name == PROBES}
        return StoredCalibration(constants, tuple(former.values()), {**probes, **origin})


def is_raised(by: Calibration, over: Calibration) -> bool:
    """Whether constants differ from others by higher levels and wider scales alone.

    >>> [is_raised(Calibration(0.3, c), Calibration(0.1, 0.2)) for c in (0.2, 0.1)]
    [True, False]
    """
    return len(by.rows) == len(over.rows) and all(
        row.c >= lower.c and row.mu >= lower.mu
        for row, lower in zip(by.rows, over.rows, strict=True)
    )


def is_before(constants: Constants, shipped: Constants) -> bool:
    """Whether constants are from before the model's queries were centred as they are now."""
    return TEXT in shipped and constants.get(TEXT, UNCALIBRATED).share != shipped[TEXT].share


def unmeasured(constants: Constants) -> StoredCalibration:
    """The calibration of a new store, with the constants that the model ships."""
    return StoredCalibration(constants, (), {"source": "shipped" if constants else "none"})


def number_of(constants: Constants) -> int:
    """The number by which a row names its constants: 63 bits of their hash."""
    return _number(
        tuple(
            sorted(
                (str(modality), *_flat(calibration)) for modality, calibration in constants.items()
            )
        )
    )


@lru_cache(64)
def _number(constants: tuple[tuple[str | float, ...], ...]) -> int:
    digest = hashlib.sha256(json.dumps(constants).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def written(state: StoredCalibration) -> str:
    constants, *former = map(flat, (state.constants, *state.former))
    facts = {"constants": constants, "former": former, "about": dict(state.about)}
    return json.dumps(facts, ensure_ascii=False)


@lru_cache(8)
def read(text: str) -> StoredCalibration:
    """What `written` wrote. A search reads the same text several times.

    >>> read(written(unmeasured({Modality("text"): Calibration(0.06, 0.155)}))).constants
    {'text': Calibration(mu=0.06, c=0.155, further=(), share=0.0)}
    """
    facts = json.loads(text)
    former = tuple(map(_read, facts["former"]))
    return StoredCalibration(_read(facts["constants"]), former, facts["about"])


def flat(constants: Constants) -> dict[str, list[float]]:
    """Constants in plain values."""
    return {
        str(modality): _flat(calibration) for modality, calibration in sorted(constants.items())
    }


def _flat(calibration: Calibration) -> list[float]:
    """mu and c, those of further rows, and the share if there is any."""
    pairs = [number for each in calibration.rows for number in (each.mu, each.c)]
    return [*pairs, calibration.share] if calibration.share else pairs


def _read(constants: Mapping[str, list[float]]) -> Constants:
    return {Modality(modality): _calibration(numbers) for modality, numbers in constants.items()}


def _calibration(flat: Sequence[float]) -> Calibration:
    pairs = list(zip(flat[::2], flat[1::2], strict=False))
    row_pairs = tuple(Calibration(mu, c) for mu, c in pairs[1:])
    return Calibration(*pairs[0], row_pairs, flat[-1] if len(flat) % 2 else 0.0)


_OF_KIND = ("spread", "spread_of_languages", "n_vectors", "n_segments")


def describe(state: StoredCalibration, in_use: Constants) -> dict[str, Any]:
    """What is known about a store's calibration.

    ``in_use`` are the constants by which searches rank: the store's, or the model's if it has
    none.
    """
    measured = state.about.get("modalities", {})
    return {
        "source": state.about["source"],
        "measured_at": state.about.get("measured_at"),
        "is_rewriting": bool(state.former),
        "modalities": {
            str(modality): {
                **plain(calibration),
                **{name: measured.get(str(modality), {}).get(name) for name in _OF_KIND},
            }
            for modality, calibration in sorted(in_use.items())
        },
    }


def plain(calibration: Calibration) -> dict[str, Any]:
    """The constants of a kind of segment, and those of its further rows, if it has several."""
    later_rows = [{"mu": row.mu, "c": row.c} for row in calibration.further]
    return {"mu": calibration.mu, "c": calibration.c, "further": later_rows}
