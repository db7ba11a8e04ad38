"""The table of workers with limits."""

from __future__ import annotations

from benchmarks.pipeline.workers import rows_of


def test_more_workers_are_judged_beside_one() -> None:
    one, two, four = rows_of([{1: (0.2, 80.0), 2: (0.208, 40.0), 4: (0.22, 25.0)}])
    assert one == ["1", "0.200", "", "80", "1.00"]
    assert two == ["2", "0.208", "+4.0 (≤ 5: met)", "40", "2.00"]
    assert four == ["4", "0.220", "+10.0 (≤ 5: missed)", "25", "3.20"]
