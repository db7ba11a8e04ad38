"""Thresholds: the measured ones, stretched, and refused where they make no sense."""

from __future__ import annotations

import math

import pytest

from encoder.dsre.settings import GateSettings, thresholds
from encoder.errors import InputError


def test_measured_thresholds() -> None:
    assert thresholds("I1", 6, shift=-0.05) == (None, 0.77, 0.71, 0.65, 0.55, 0.40)
    twelve = thresholds("J1", 12)
    assert twelve[0] is None
    assert twelve[-1] is None
    assert twelve[1] == 0.85
    assert twelve[10] == 0.70


def test_depth_stretches_the_curve() -> None:
    gates = [gate for gate in thresholds("I1", 12)[1:] if gate is not None]
    assert len(gates) == 11
    assert (gates[0], gates[-1]) == (0.82, 0.45)
    assert sorted(gates, reverse=True) == gates


@pytest.mark.parametrize(
    ("preset", "n_layers", "shift"), [("I9", 6, 0.0), ("I1", 2, 0.0), ("I1", 6, -0.5)]
)
def test_impossible_thresholds(preset: str, n_layers: int, shift: float) -> None:
    with pytest.raises(InputError, match="Expected"):
        thresholds(preset, n_layers, shift=shift)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {"thresholds": (None, None)},
        {"thresholds": (None, 1.2)},
        {"thresholds": (None, math.nan)},
        {"thresholds": (0.5,), "protection": -0.1},
        {"thresholds": (0.5,), "floor": 0.0},
        {"thresholds": (0.5,), "min_tokens": 0},
    ],
)
def test_impossible_settings(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Expected"):
        GateSettings(**values)  # type: ignore[arg-type]
