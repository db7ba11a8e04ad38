"""A sensitivity report as a table for people."""

from __future__ import annotations

import sys
from io import StringIO

from encoder.quant.report.losses import Losses
from encoder.quant.schemes import FP32

_UNITS = {"kl": "KL in nats", "cosine": "1 − cosine"}
_LEVELS = ((1e-4, "green"), (1e-2, "yellow"))
_MIN_WIDTH, _LAYER_WIDTH, _COLUMN_WIDTH = 60, 48, 10


def render(report: Losses, *, color: bool | None = None) -> str:
    """One line for each layer, one column for each scheme; losses with two digits."""
    from rich.console import Console
    from rich.table import Table

    schemes = [scheme for scheme in report.schemes if scheme != FP32]
    table = Table(title=_title(report), title_justify="left")
    for heading in ("layer", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("fp32 kB", *(scheme.name for scheme in schemes)):
        table.add_column(heading, justify="right", no_wrap=True)
    cells = {(row.layer, row.scheme): row for row in report.rows}
    for name in report.layers:
        found = [cells.get((name, scheme)) for scheme in schemes]
        first = cells[name, FP32]
        losses = [_loss(row.loss) if row else "" for row in found]
        table.add_row(name, first.kind, f"{first.nbytes / 1000:,.0f}", *losses)
    colored = sys.stdout.isatty() if color is None else color
    text = StringIO()
    width = max(_MIN_WIDTH, _LAYER_WIDTH + _COLUMN_WIDTH * (len(schemes) + 2))
    console = Console(file=text, force_terminal=colored, no_color=not colored, width=width)
    console.print(table)
    for line in _remarks(report):
        console.print(line, markup=False, highlight=False)
    return text.getvalue()


def _title(report: Losses) -> str:
    how = {
        "measured": f"{'estimated' if report.is_synthetic else 'measured'} on",
        "fisher": "estimated by Fisher's diagonal from",
        "weights": "estimated from its weights and",
    }[report.mode]
    unit = _UNITS[report.objective]
    items = f"{report.n_items} {'synthetic inputs' if report.is_synthetic else 'items'}"
    return f"Loss ({unit}) of one layer in one scheme, {how} {items}"


def _loss(loss: float) -> str:
    style = next((style for limit, style in _LEVELS if loss < limit), "red")
    return f"[{style}]{loss:.1e}[/]"


def _remarks(report: Losses) -> list[str]:
    kept = [f"stays FP32: {name}" for name in report.unsupported]
    shared = dict.fromkeys(f"{row.scheme.name}: {row.note}" for row in report.rows if row.note)
    return [*shared, *report.notes, *kept]
