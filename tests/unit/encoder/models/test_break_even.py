"""From which length on a gate pays."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from encoder.dsre.fitting.judge import Runs
from encoder.dsre.gatefile import GateFile
from encoder.errors import InputError, ModelError
from encoder.models.bundle.declaration import TEXT_GATE
from encoder.prepare.gates import fit as timing
from encoder.prepare.gates.fit import break_even, raise_to_break_even
from encoder.prepare.gates.subjects import bundle_runs


@pytest.mark.parametrize(
    ("speedups", "found"),
    [
        ({128: 1.0, 160: 1.1}, 128),
        ({128: 1.2, 160: 0.99, 192: 1.0, 224: 1.3}, 192),  # a lucky short one does not count
        ({128: 0.8, 160: 0.9, 192: 1.1}, 192),
    ],
)
def test_nothing_longer_is_slower(speedups: dict[int, float], found: int) -> None:
    assert break_even(speedups) == found


def test_a_gate_that_never_pays() -> None:
    with pytest.raises(ModelError, match="up to 160 tokens"):
        break_even({128: 1.2, 160: 0.9})


@pytest.fixture
def runs(bundle_home: Path) -> Runs:
    return partial(bundle_runs, bundle_home / "text", int8=True)


@pytest.mark.slow
def test_a_gate_keeps_all_but_its_shortest_length(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_N_ROUNDS", 3)
    gate = GateFile.load(TEXT_GATE)
    # merges all that it may, so there is no doubt that it pays
    greedy = replace(gate.settings, thresholds=(0.0,) * 6, protection=0.0, min_tokens=448)
    gate = replace(gate, settings=greedy)
    texts = np.random.default_rng(0).integers(2000, 2100, (4, 500)).tolist()
    lines: list[str] = []
    raised = raise_to_break_even(gate, runs, texts, report=lines.append)
    assert raised.settings.min_tokens in (448, 480)
    assert replace(raised.settings, min_tokens=448) == gate.settings
    assert list(raised.facts["break_even"]) == ["448", "480"]
    assert {**raised.facts, "break_even": 0} == {**gate.facts, "break_even": 0}
    assert "448: " in lines[0]


def test_texts_too_short_to_be_timed(runs: Runs) -> None:
    with pytest.raises(InputError, match="128 tokens or more"):
        raise_to_break_even(GateFile.load(TEXT_GATE), runs, [[1] * 90] * 9)
    with pytest.raises(InputError, match="0 texts"):
        raise_to_break_even(GateFile.load(TEXT_GATE), runs, [])
