"""What changed beyond noise between two checkouts."""

from __future__ import annotations

from benchmarks.harness.changes import changed, figures

PRINTED = """\
3 files.

|  | files/CPU-s | not read |
| --- | --- | --- |
| ours | 8.63 | 0 |
| script | 9.5 (≥ 4: met) | .eml |
"""


def test_figures_are_read_from_tables() -> None:
    ours, script = ("ours", "files/CPU-s"), ("script", "files/CPU-s")
    assert figures(PRINTED) == {ours: 8.63, ("ours", "not read"): 0, script: 9.5}


def test_only_what_lies_beyond_all_other_runs_has_changed() -> None:
    one, two, three = ("a", "s"), ("b", "s"), ("c", "s")
    before = [{one: 10.0, two: 10.0, three: 4.0}, {one: 14.0, two: 10.0}]
    after = [{one: 15.0, two: 8.0, three: 9.0}, {one: 15.0, two: 9.0, three: 9.0}]
    assert changed(before, after) == [["b: s", "10, 10", "8, 9", "0.85"]]
