"""A table of ways to quantize a network: sizes, figures, and their bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table

if TYPE_CHECKING:
    from benchmarks.quant.networks.subjects import Subject
    from benchmarks.quant.quality.ways import Way

Bars = Mapping[str, Mapping[str, Bar]]
"""By the name of a way, then of a figure."""


class Column(NamedTuple):
    """A figure's heading, its name, its format and what it is multiplied by."""

    heading: str
    figure: str
    form: str
    scale: float = 1.0


def compare(
    subject: Subject,
    ways: Mapping[str, Callable[[], Way]],
    columns: Sequence[Column],
    bars: Bars,
) -> str:
    """Make each way, judge it, and put it in a row.

    Args:
        subject: judges each way.
        ways: by name; the first is the original.
        columns: which figures.
        bars: for columns, in the column's unit; ``× smaller`` may have one too.
    """
    rows = []
    original_nbytes = 0
    for name, make in ways.items():
        note(name)
        way = make()
        original_nbytes = original_nbytes or way.nbytes
        figures = subject.judge(way.model)
        note(f"{name}: {way.nbytes / 1e6:.2f} MB, {dict(figures)}")
        ratio = _cell(original_nbytes / way.nbytes, ".2f", bars.get(name, {}).get("× smaller"))
        cells = [
            _cell(figures[c.figure] * c.scale, c.form, bars.get(name, {}).get(c.figure))
            for c in columns
        ]
        rows.append([name, f"{way.nbytes / 1e6:.2f}", ratio, *cells, way.schemes])
    headings = ["way", "MB", "× smaller", *(column.heading for column in columns), "layers"]
    return table(headings, rows)


def _cell(value: float, form: str, bar: Bar | None) -> str:
    return bar.beside(value, form) if bar else f"{value:{form}}"
