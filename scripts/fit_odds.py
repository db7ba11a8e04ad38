"""Fit the odds that a model ships: from a score above its floor to the probability of an answer.

    python -m scripts.fit_odds --store STORE --table TABLE.json

asks the questions of the development half and 400 texts that mean nothing, with the constants and
floors of today. A logistic is fitted to whether the hits on the questions' first pages are right; a
hit weighs the less the later it comes, since the first is looked at most. The probability below
which a hit is weak is where nonsense that passes and questions whose right hits among the first
five are all hidden are equally far from what is wanted. To be run again whenever constants or
floors change.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.library.__main__ import FOLDER
from benchmarks.library.asking import engine_over, files_of
from benchmarks.library.corpus import SOURCES, make
from benchmarks.library.questions import HALVES, questions
from encoder.calibration.floors import HEAP, nonsense
from encoder.calibration.measure import sample_queries
from encoder.calibration.tables import read_table, write_table
from encoder.space import Odds
from encoder.types import QUERY, TEXT, Item
from search import Hit, Query
from search.types import READINGS

_NONSENSE, _HIDDEN = 0.05, 0.02
_N_FIRST = 5
_N_STEPS = 25


@dataclass(frozen=True)
class Page:
    """How far the hits of a page are above their floors, and which are right.

    Hits that are shown whatever their height are left out.
    """

    heights: NDArray[np.float64]
    right: NDArray[np.bool_]
    ranks: NDArray[np.int64]

    @property
    def early(self) -> NDArray[np.bool_]:
        """Which are right, and among the first five of the page."""
        return self.right & (self.ranks <= _N_FIRST)


def page_of(hits: Sequence[Hit], right: Collection[str], odds: Odds) -> Page:
    """A page of hits, by the odds that made their probabilities."""
    lifted = max(0.5, odds.least)
    told = [
        (rank, hit) for rank, hit in enumerate(hits, 1) if hit.probability not in (None, lifted)
    ]
    return Page(
        np.array([_height(hit, odds) for _, hit in told]),
        np.array([bool(files_of(hit) & set(right)) for _, hit in told], bool),
        np.array([rank for rank, _ in told]),
    )


def _height(hit: Hit, odds: Odds) -> float:
    assert hit.probability is not None
    chance = np.clip(hit.probability, 1e-12, 1 - 1e-12)
    return odds.middle + float(np.log(chance / (1 - chance))) / odds.steepness


def fitted(asked: Sequence[Page], empty: Sequence[Page]) -> Odds:
    """The odds of pages of questions, and of texts that mean nothing."""
    heights = np.concatenate([page.heights for page in asked])
    right = np.concatenate([page.right for page in asked]).astype(np.float64)
    steepness, offset = _logistic(
        heights, right, np.concatenate([1 / page.ranks for page in asked])
    )
    odds = Odds(round(steepness, 2), round(-offset / steepness, 2))
    first = np.array([page.heights[early].max() for page in asked if (early := page.early).any()])
    best = np.array([page.heights.max(initial=-np.inf) for page in empty])
    steps = np.arange(-2.0, 4.0, 0.05)
    misses = [
        max(np.mean(best >= step) / _NONSENSE, np.mean(first < step) / _HIDDEN) for step in steps
    ]
    at = float(np.median(steps[np.isclose(misses, min(misses))]))
    passing, hidden = float(np.mean(best >= at)), float(np.mean(first < at))
    print(f"{len(heights)} hits, {right.mean():.3f} right; the cut-off is at {at:.2f}:")
    print(f"nonsense above it {passing:.3f}, questions with all that is right hidden {hidden:.3f}")
    return replace(odds, least=round(odds.of(at), 4))


def _logistic(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and offset, by Newton's method."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    line = np.zeros(2)
    for _ in range(_N_STEPS):
        p = 1 / (1 + np.exp(-design @ line))
        curvature = design.T @ (design * (weights * p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        line += np.linalg.solve(curvature, design.T @ (weights * (y - p)))
    return float(line[0]), float(line[1])


def main() -> None:
    """As the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fit_odds")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of files and manifest")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, help="whose odds are replaced")
    args = parser.parse_args()
    wanted = questions(make(args.folder.resolve(), SOURCES[HALVES[0]]), HALVES[0])
    without_meaning = [one.text for one in nonsense(sample_queries()) if one.kind != HEAP]
    with engine_over(args.store) as engine:
        odds = engine.space().odds

        def page(text: str, right: Collection[str]) -> Page:
            query = Query([Item(TEXT, text, QUERY)], understand=READINGS)
            return page_of(engine.search(query).hits, right, odds)

        asked = [
            page(one.text, one.right) for one in wanted if one.group not in ("filter", "nonsense")
        ]
        empty = [page(one.text, ()) for one in wanted if one.group == "nonsense"]
        empty += [page(text, ()) for text in without_meaning]
    new = fitted(asked, empty)
    write_table(args.table, replace(read_table(args.table), odds=new))
    print(new)


if __name__ == "__main__":
    main()
