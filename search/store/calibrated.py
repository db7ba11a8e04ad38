"""The constants by which a store's cosines are made comparable, and where they came from.

A store keeps plain unit vectors. A mixed list compares ``(cos(q, v) - shift * mu) / c``, with the
constants of the target's modality (`encoder.space.Calibration`), which are applied to what a search
has found (`search.store.several`): other constants change no row. Within a modality the order is
that of the cosines. If its segments have several vectors, each row has its own constants.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from threading import RLock
from types import MappingProxyType
from typing import Any, TypeAlias

from encoder.space import UNCALIBRATED, Calibration
from encoder.types import TEXT, Modality

Constants: TypeAlias = Mapping[Modality, Calibration]
"""By modality; a missing one is not calibrated."""
NO_CONSTANTS: Constants = MappingProxyType({})


REFRESH_S = 2.0
"""How long a process uses the constants that it has read."""
BESIDE = "beside"
"""The number of the model's own constants beside which a store measured its own by itself."""


@dataclass(frozen=True)
class StoredCalibration:
    """The calibration of a store.

    Args:
        constants: those by which hits are scored.
        about: where the constants came from, in plain values; ``source`` is "none", "shipped" (by
            the model) or "measured". `BESIDE` is here too, where there is any.
    """

    constants: Constants = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def renewed(self, shipped: Constants) -> StoredCalibration:
        """As if it was made with what the model ships now, unless somebody measured it.

        What it measured by itself holds as long as the model ships what it was measured beside.
        """
        constants = {**self.constants, **shipped}
        if self.about.get("source") == "shipped":
            return replace(self, constants=constants)
        if BESIDE in self.about and self.about[BESIDE] != number_of(shipped):
            return unmeasured(constants)
        return self


class Calibrations:
    """The calibrations of a store's spaces. Safe to use from threads.

    Args:
        home: the space that is meant without a name.
        read: what the store says of a space.
    """

    def __init__(self, home: str, read: Callable[[str], StoredCalibration]) -> None:
        self._home = home
        self._read = read
        self._lock = RLock()
        self._known: dict[str, tuple[float, StoredCalibration]] = {}

    def scoring(self, space: str = "") -> StoredCalibration:
        """That by which hits of a space are scored, as it was at most `REFRESH_S` ago.

        One thread reads for all: a search asks a dozen times.
        """
        with self._lock:
            read_at_s, state = self._known.get(space or self._home, (0.0, None))
            if state is None or time.monotonic() >= read_at_s + REFRESH_S:
                return self.current(space)
            return state

    def current(self, space: str = "") -> StoredCalibration:
        """The calibration of a space, and its origin, as they are now."""
        space, read_at_s = space or self._home, time.monotonic()
        state = self._read(space)
        self._known[space] = read_at_s, state
        return state

    def forget(self) -> None:
        """Read all again."""
        self._known.clear()


def is_before(constants: Constants, shipped: Constants) -> bool:
    """Whether constants are from before the model's queries were centred as they are now."""
    return TEXT in shipped and constants.get(TEXT, UNCALIBRATED).share != shipped[TEXT].share


def unmeasured(constants: Constants) -> StoredCalibration:
    """The calibration of a new store, with the constants that the model ships."""
    return StoredCalibration(constants, {"source": "shipped" if constants else "none"})


def number_of(constants: Constants) -> int:
    """A number that names constants: 63 bits of their hash."""
    digest = hashlib.sha256(json.dumps(flat(constants)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def written(state: StoredCalibration) -> str:
    facts = {"constants": flat(state.constants), "about": dict(state.about)}
    return json.dumps(facts, ensure_ascii=False)


@lru_cache(8)
def read(text: str) -> StoredCalibration:
    """What `written` wrote. A search reads the same text several times.

    >>> read(written(unmeasured({Modality("text"): Calibration(0.06, 0.155)}))).constants
    {'text': Calibration(mu=0.06, c=0.155, further=(), share=0.0)}
    """
    facts = json.loads(text)
    constants = {Modality(name): _calibration(flat) for name, flat in facts["constants"].items()}
    return StoredCalibration(constants, facts["about"])


def flat(constants: Constants) -> dict[str, list[float]]:
    """Constants in plain values: mu and c of each row, and the share if there is any."""
    return {
        str(modality): [
            *(number for row in calibration.rows for number in (row.mu, row.c)),
            *([calibration.share] if calibration.share else []),
        ]
        for modality, calibration in sorted(constants.items())
    }


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
