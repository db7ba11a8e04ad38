"""A sensitivity report as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoder.quant.report.losses import Losses, Row
from encoder.quant.schemes import FP32
from encoder.system.extras import require

_LABELS = {"kl": "KL divergence of the output, nats", "cosine": "1 − cosine of the output"}
_ROW_INCHES, _MARGIN_INCHES = 0.19, 1.3
_FLOOR = 1e-9
_COLORS = ("#b2182b", "#ef8a62", "#e0a800", "#4393c3", "#2166ac", "#999999", "#555555")


def draw(report: Losses, path: Path) -> Path:
    """Draw one line for each layer: a dot for each scheme at its loss (log scale), and its size.

    Losses that were not found for a layer alone (FP16's shares) are left out.

    Raises:
        MissingExtraError: matplotlib is not installed; ``report.table()`` does not need it.
    """
    require("A plot", "matplotlib")
    from matplotlib.figure import Figure

    n_layers = len(report.layers)
    figure = Figure(
        figsize=(10, _MARGIN_INCHES + _ROW_INCHES * max(n_layers, 6)), layout="constrained"
    )
    dots, sizes = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    _draw_dots(dots, report)
    _draw_sizes(sizes, report)
    figure.savefig(path, dpi=150)
    return path


def _draw_dots(axes: Any, report: Losses) -> None:
    places = {name: place for place, name in enumerate(report.layers)}
    rows = [r for r in report.rows if r.scheme != FP32 and r.loss < float("inf") and not r.note]
    shown = [scheme for scheme in report.schemes if any(row.scheme == scheme for row in rows)]
    for index, scheme in enumerate(shown):
        own = [row for row in rows if row.scheme == scheme]
        axes.scatter(
            [max(row.loss, _FLOOR) for row in own],
            [places[row.layer] for row in own],
            s=22,
            color=_COLORS[index % len(_COLORS)],
            label=scheme.name,
        )
    axes.set_xscale("log")
    axes.set_xlabel(_LABELS[report.objective])
    axes.set_yticks(range(len(places)), list(places), fontsize=8)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    for place in places.values():
        axes.axhline(place, color="#eeeeee", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=max(1, len(shown)), frameon=False
    )


def _draw_sizes(axes: Any, report: Losses) -> None:
    whole: list[Row] = [row for row in report.rows if row.scheme == FP32]
    axes.barh(range(len(whole)), [row.nbytes / 1e6 for row in whole], color="#bbbbbb", height=0.7)
    axes.set_xlabel("size in FP32, MB")
    axes.tick_params(axis="y", length=0)
