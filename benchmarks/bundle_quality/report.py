"""Figures with their intervals, and the table of a subject in ``results/quality.md``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.results_pages import table, write_section

_N_DRAWS = 2000
_PERCENT = (2.5, 97.5)


@dataclass(frozen=True)
class Figure:
    """One row of a table.

    Args:
        what: the network, the queries and what they search.
        metric: such as R@1.
        values: one for each query.
        groups: what each query shares with others, such as its paragraph.
        bar: the value that the bundle should reach; None if there is none.
        seen: whether anyone saw these data while choosing or fitting something; empty if not.
    """

    what: str
    metric: str
    values: NDArray[np.floating]
    groups: NDArray[np.integer]
    bar: float | None = None
    seen: str = ""

    @property
    def mean(self) -> float:
        """The mean over queries."""
        return float(self.values.mean())

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean."""
        return interval(self.values, self.groups)

    def cells(self) -> list[object]:
        """The cells of the row."""
        low, high = self.interval()
        bar = "–" if self.bar is None else f"{self.bar:.2f}"
        value = f"{self.mean:.3f} ({low:.3f}–{high:.3f})"
        return [self.what, len(self.values), self.metric, value, bar, self.seen or "no"]


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Args:
        title: of its section.
        about: the data, and what a figure means.
        measure: fetches and measures.
    """

    title: str
    about: str
    measure: Callable[[], Sequence[Figure]]


def interval(values: NDArray[np.floating], groups: NDArray[np.integer]) -> tuple[float, float]:
    """The middle 95 % of the mean when whole groups are drawn with replacement.

    >>> low, high = interval(np.array([1.0, 0.0] * 50), np.arange(100))
    >>> low < 0.45 and high > 0.55
    True
    """
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), (_N_DRAWS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, _PERCENT)
    return float(low), float(high)


def write(subject: Subject) -> None:
    """Measure, and replace the subject's section."""
    rows = [figure.cells() for figure in subject.measure()]
    headings = ["what", "queries", "metric", "figure (95 %)", "bar", "looked at while tuning"]
    name = subject.measure.__module__.rpartition(".")[2]
    body = f"{subject.about.strip()}\n\n{table(headings, rows)}"
    write_section(f"Foreign data: {subject.title}", f"make bench-quality SUBJECTS={name}", body)
