"""Sensible questions that nothing in a library answers, and which hits are shown all the same.

Written on 2026-12-02 by an author who had seen neither the bank of foreign texts nor the code: 240
requests in six languages and two families of topics. Constants may be chosen by the development
half; the judged half is looked at once for a change.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from benchmarks.harness.results_pages import table
from benchmarks.library.asking import engine_over
from encoder.calibration.measure import rows_of
from encoder.types import QUERY, TEXT, Item
from search import Query, SearchEngine
from search.types import READINGS

_FILE = Path(__file__).with_name("unanswered.tsv")


def measure(store: Path, half: str) -> str:
    """How many questions of a half have a hit that is not weak, by family and language."""
    asked = [row for row in rows_of(_FILE) if row["half"] == half]
    with engine_over(store) as engine:
        n_strong = [_n_strong(engine, row["text"]) for row in asked]
    groups: dict[str, list[int]] = {"all": n_strong}
    for row, n in zip(asked, n_strong, strict=True):
        for name in (row["family"], row["language"]):
            groups.setdefault(name, []).append(n)
    rows = [(name, len(of), *_figures(of)) for name, of in groups.items()]
    return table(("questions", "n", "with a strong hit", "strong hits each"), rows)


def _n_strong(engine: SearchEngine, text: str) -> int:
    query = Query([Item(TEXT, text, QUERY)], understand=READINGS)
    return sum(not hit.weak for hit in engine.search(query).hits)


def _figures(n_strong: list[int]) -> tuple[str, str]:
    return f"{fmean(n > 0 for n in n_strong):.3f}", f"{fmean(n_strong):.2f}"
