"""Settings of the token gate: thresholds per layer, protection, floor. Checked on creation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from encoder.errors import InputError

Preset = Literal["I1", "J1"]

_CURVE_I = (0.82, 0.76, 0.70, 0.60, 0.45)
_CURVE_J = (0.85, 0.70)


@dataclass(frozen=True)
class GateSettings:
    """How many tokens each layer may merge.

    Args:
        thresholds: per layer, the similarity above which tokens merge; None for no gate.
        protection: how much a token's rarity (0 to 1) counts against merging it.
        floor: the share of a text's tokens that is always kept.
        min_tokens: shorter texts are never touched; the gate would cost more than it saves.

    Raises:
        InputError: a value that no gate can work with.

    >>> GateSettings((None, 0.8)).floor
    0.12
    """

    thresholds: tuple[float | None, ...]
    protection: float = 0.5
    floor: float = 0.12
    min_tokens: int = 128

    def __post_init__(self) -> None:
        if not any(threshold is not None for threshold in self.thresholds):
            raise InputError("thresholds", got="no gate at all", wanted="one for some layer")
        for layer, threshold in enumerate(self.thresholds):
            if threshold is not None:
                _check(f"thresholds[{layer}]", threshold, 0.0, 1.0)
        _check("protection", self.protection, 0.0, 1.0)
        _check("floor", self.floor, 0.01, 1.0)
        _check("min_tokens", self.min_tokens, 4, 1_000_000)


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:  # also true for NaN
        raise InputError(name, got=f"{value:g}", wanted=f"{lowest:g} to {highest:g}")


def thresholds(preset: Preset, n_layers: int, *, shift: float = 0.0) -> tuple[float | None, ...]:
    """A measured setting, stretched to the depth of a model.

    I1 gates every layer but the first (measured on 6 layers, mean pooling); J1 leaves out the first
    and the last (12 layers, CLS pooling).

    Args:
        preset: I1 or J1.
        n_layers: the model's layers, at least 3.
        shift: added to every threshold: the one number that calibration fits.

    Raises:
        InputError: an unknown preset, too few layers, or a shift that leaves the range 0 to 1.

    >>> thresholds("I1", 6)
    (None, 0.82, 0.76, 0.7, 0.6, 0.45)
    """
    if preset not in get_args(Preset):
        raise InputError("preset", got=repr(preset), wanted=" or ".join(get_args(Preset)))
    if n_layers < 3:
        raise InputError("n_layers", got=str(n_layers), wanted="at least 3")
    curve, spared = (_CURVE_I, 0) if preset == "I1" else (_CURVE_J, 1)
    n_gates = n_layers - 1 - spared
    at = np.linspace(0, 1, n_gates)
    values = np.interp(at, np.linspace(0, 1, len(curve)), curve) + shift
    gates = tuple(round(float(value), 6) for value in values)
    for gate in gates:
        if not 0.0 <= gate <= 1.0:
            raise InputError("shift", got=f"{shift:g}, a threshold of {gate:g}", wanted="0 to 1")
    return (None, *gates, *([None] * spared))
