"""Figures with their intervals, and the table of a subject in ``results/quality.md``.

Protocol of all subjects, written before the first run:

- Each runs the bundle as `anymodal` does, through the towers that serve.
- Data are fetched from public repositories at a pinned commit into ``.demo/bundle_quality`` and
  never committed. Nothing is left out of a set unless the subject says so and why.
- Each figure has its number of queries and a 95 % interval, by a bootstrap over what queries share
  (a paragraph, a picture, a recording), since queries that share one are not independent.
- A set that somebody looked at while choosing or fitting anything is marked as such in its row.
- A figure is reported as measured. A subject is measured again when the bundle changes, never to
  get a better draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.reporting import Settings, report
from benchmarks.harness.results_pages import table

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

    def cells(self) -> list[object]:
        """The cells of the row."""
        low, high = interval(self.values, self.groups)
        bar = "–" if self.bar is None else f"{self.bar:.2f}"
        value = f"{self.mean:.3f} ({low:.3f}–{high:.3f})"
        return [self.what, len(self.values), self.metric, value, bar, self.seen or "no"]


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


def write(settings: Settings, title: str, about: str, figures: Iterable[Figure]) -> None:
    """Report a subject's figures below what is said of its data."""
    rows = [figure.cells() for figure in figures]
    headings = ["what", "queries", "metric", "figure (95 %)", "bar", "looked at while tuning"]
    report(settings, f"Foreign data: {title}", about.strip(), table(headings, rows))
