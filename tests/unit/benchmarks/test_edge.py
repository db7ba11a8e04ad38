"""The table of frames on a small machine."""

from __future__ import annotations

from benchmarks.memory.edge import frame_rows
from benchmarks.quant.memory import INT8, TORCH


def test_ours_is_judged_beside_torch() -> None:
    rounds = [
        {
            TORCH: {"frame_s": second, "resident": 800e6, "peak": 900e6},
            INT8: {"frame_s": 0.05, "resident": 200e6, "peak": 210e6},
        }
        for second in (0.1, 0.2, 0.3)
    ]
    torch, ours = frame_rows(rounds)
    assert torch == ["torch fp32", "5.0", "1.00 (1.00–1.00)", "800", "900", "0"]
    assert ours[1] == "20.0"
    assert ours[2] == "4.00 (2.40–5.60); 4.00 (≥ 2: met)"
    assert ours[3:] == ["200", "210", "75 (≥ 60: met)"]
