"""The table of workers with limits."""

from __future__ import annotations

from benchmarks.pipeline.workers import rows_of


def test_more_workers_are_judged_beside_one() -> None:
    rounds = [
        {1: (0.2, 80.0), 2: (0.208, 40.0), 4: (0.22, 25.0)},
        {1: (0.1, 80.0), 2: (0.104, 40.0), 4: (0.11, 25.0)},
    ]
    one, two, four = rows_of(rounds)
    assert one == ["1", "0.150 (0.100–0.200)", "", "80", "1.00"]
    assert two == ["2", "0.156 (0.104–0.208)", "+4.0 (≤ 5: met)", "40", "2.00"]
    assert four == ["4", "0.165 (0.110–0.220)", "+10.0 (≤ 5: missed)", "25", "3.20"]
