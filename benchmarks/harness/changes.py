"""Compare ``make bench-quick`` of two checkouts: what changed beyond noise? It only reports.

    python -m benchmarks.harness.changes BEFORE AFTER       # folders; Markdown on standard output

Both take turns, twice each. A figure has changed if both runs of one checkout are above, or both
below, those of the other by more than a tenth, so that variation between runs is not reported.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table
from scripts.results_json import tables

Figures = dict[tuple[str, str], float]
_ROUNDS, _BEYOND = 2, 1.1
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def figures(printed: str) -> Figures:
    """The first number of each cell, by the names of its row and column."""
    return {
        (row[0], heading): float(number[0])
        for one in tables(printed)
        for row in one["rows"]
        for heading, cell in zip(one["headings"][1:], row[1:], strict=False)
        if (number := _NUMBER.match(cell))
    }


def changed(before: Sequence[Figures], after: Sequence[Figures]) -> list[list[str]]:
    """Table rows (what, before, after, ratio) of all figures that changed beyond noise."""
    rows = []
    for name in sorted(set.intersection(*(set(one) for one in [*before, *after]))):
        old, new = (sorted(one[name] for one in runs) for runs in (before, after))
        if new[0] > old[-1] * _BEYOND or new[-1] * _BEYOND < old[0]:
            ratio = f"{sum(new) / sum(old):.2f}" if sum(old) else ""
            rows.append([": ".join(name), _said(old), _said(new), ratio])
    return rows


def _said(runs: Iterable[float]) -> str:
    return ", ".join(f"{run:g}" for run in runs)


def _run(folder: Path) -> Figures:
    note(f"{folder}")
    words = ["make", "--silent", f"--directory={folder}", "bench-quick"]
    return figures(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(before: str, after: str) -> None:
    """Measure and print."""
    rounds = [(_run(Path(before)), _run(Path(after))) for _ in range(_ROUNDS)]
    rows = changed(*zip(*rounds, strict=True))
    if rows:
        print(table(["changed beyond noise", "before", "after", "ratio"], rows))
    else:
        print(f"None of {len(rounds[0][0])} figures changed beyond noise.")


if __name__ == "__main__":
    main(*sys.argv[1:])
