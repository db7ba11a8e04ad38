"""The results of a sensitivity analysis as a table, a picture or a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError
from encoder.quant.allocate import Option
from encoder.quant.schemes import FP32, Scheme
from encoder.system.extras import is_installed, require

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Row:
    """One layer in one scheme, all others unchanged.

    Args:
        layer: its name.
        kind: ``linear``, ``conv`` or ``embedding``.
        scheme: how its weight was stored.
        loss: the divergence of the model's output; infinite if that was not a number.
        nbytes: of the weight in this scheme, including scales.
        n_values: number of values in the weight.
        note: how the loss was found, if it was not measured for this row alone.
    """

    layer: str
    kind: str
    scheme: Scheme
    loss: float
    nbytes: int
    n_values: int
    note: str = ""


@dataclass(frozen=True)
class SensitivityReport:
    """Losses by layer and scheme.

    Args:
        rows: in the model's order of layers, each from its narrowest scheme to FP32.
        objective: how a loss is measured: ``kl`` in nats, or ``cosine`` for 1 − cosine.
        fp32_nbytes: of the whole model.
        n_items: how many items a loss is the mean over.
        unsupported: large parameters that no scheme is available for.
        notes: candidates that were left out, and why.
        is_estimate: whether the inputs were made up, since none were given.
    """

    rows: Sequence[Row]
    objective: str
    fp32_nbytes: int
    n_items: int
    unsupported: Sequence[str] = ()
    notes: Sequence[str] = ()
    is_estimate: bool = False

    @property
    def layers(self) -> list[str]:
        """Names, in the model's order."""
        return list(dict.fromkeys(row.layer for row in self.rows))

    @property
    def schemes(self) -> list[Scheme]:
        """All schemes that occur, from narrow to wide."""
        return sorted({row.scheme for row in self.rows}, key=width)

    def loss(self, layer: str, scheme: str | Scheme) -> float:
        """The loss of one layer in one scheme.

        Raises:
            InputError: the report has no such row.
        """
        parsed = Scheme.parse(scheme)
        offered = {row.scheme: row.loss for row in self.rows if row.layer == layer}
        if parsed in offered:
            return offered[parsed]
        what = [each.name for each in offered] if offered else f"a layer of {self.layers}"
        raise InputError("loss", got=f"{layer!r} in {parsed.name}", wanted=f"{what}")

    def options(self) -> dict[str, list[Option]]:
        """The options for `allocate.allocate`; schemes that break the output are left out."""
        by_layer: dict[str, list[Option]] = {name: [] for name in self.layers}
        for row in self.rows:
            if row.loss < float("inf"):
                by_layer[row.layer].append(Option(row.scheme, row.loss, row.nbytes))
        return by_layer

    def table(self, *, color: bool | None = None) -> str:
        """Layers by schemes, as text.

        Args:
            color: whether to use colours; None to use them on a terminal.
        """
        return render(self, color=color)

    def _repr_html_(self) -> str:
        """The table in a notebook; and the plot, if matplotlib is installed."""
        return as_html(self)

    def plot(self, path: str | Path) -> Path:
        """Draw layers by schemes into a ``.png``, ``.svg`` or ``.pdf``; see `report.plot`.

        Raises:
            ModelError: matplotlib is not installed.
        """
        return draw(self, Path(path))

    def save(self, path: str | Path) -> Path:
        """Write as JSON."""
        rows = [{**vars(row), "scheme": row.scheme.name} for row in self.rows]
        content = {**asdict(self), "rows": rows}
        Path(path).write_text(json.dumps(content, indent=1), "utf-8")
        return Path(path)


def width(scheme: Scheme) -> tuple[int, int]:
    """A key that sorts from narrow to wide; of equal bits, long groups first.

    >>> names = ("int4g64", "int8", "int4")
    >>> [scheme.name for scheme in sorted(map(Scheme.parse, names), key=width)]
    ['int4', 'int4g64', 'int8']
    """
    return scheme.bits, -(scheme.group or 1_000_000)


_UNITS = {"kl": "KL in nats", "cosine": "1 − cosine"}
_LEVELS = ((1e-4, "green"), (1e-2, "yellow"))
_MIN_WIDTH, _LAYER_WIDTH, _COLUMN_WIDTH = 60, 48, 10


def render(report: SensitivityReport, *, color: bool | None = None) -> str:
    """One line for each layer, one column for each scheme; losses with two digits."""
    colored = sys.stdout.isatty() if color is None else color
    text = StringIO()
    _print(report, file=text, force_terminal=colored, no_color=not colored)
    return text.getvalue()


def as_html(report: SensitivityReport) -> str:
    """The same for a notebook; and the plot, if matplotlib is installed."""
    screen = _print(report, file=StringIO(), force_terminal=True, record=True)
    table = screen.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    if not is_installed("matplotlib"):
        return table
    with TemporaryDirectory() as folder:
        drawn = draw(report, Path(folder) / "plot.svg").read_text()
    return table + drawn[drawn.index("<svg") :]


def _print(report: SensitivityReport, **options: Any) -> Console:
    """Print the table and its notes on a console with these options."""
    from rich.console import Console
    from rich.table import Table

    schemes = [scheme for scheme in report.schemes if scheme != FP32]
    how, items = ("estimated", "synthetic inputs") if report.is_estimate else ("measured", "items")
    title = (
        f"Loss ({_UNITS[report.objective]}) of one layer in one scheme, {how} on "
        f"{report.n_items} {items}"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("layer", "kind"):
        table.add_column(heading, no_wrap=True)
    for heading in ("fp32 kB", *(scheme.name for scheme in schemes)):
        table.add_column(heading, justify="right", no_wrap=True)
    cells = {(row.layer, row.scheme): row for row in report.rows}
    for name in report.layers:
        cells_of_layer = [cells.get((name, scheme)) for scheme in schemes]
        first = cells[name, FP32]
        losses = [_loss(row.loss) if row else "" for row in cells_of_layer]
        table.add_row(name, first.kind, f"{first.nbytes / 1000:,.0f}", *losses)
    width = max(_MIN_WIDTH, _LAYER_WIDTH + _COLUMN_WIDTH * (len(schemes) + 2))
    console = Console(width=width, **options)
    console.print(table)
    shared = dict.fromkeys(f"{row.scheme.name}: {row.note}" for row in report.rows if row.note)
    for line in (*shared, *report.notes, *(f"stays FP32: {name}" for name in report.unsupported)):
        console.print(line, markup=False, highlight=False)
    return console


def _loss(loss: float) -> str:
    style = next((style for limit, style in _LEVELS if loss < limit), "red")
    return f"[{style}]{loss:.1e}[/]"


_LABELS = {"kl": "KL divergence of the output, nats", "cosine": "1 − cosine of the output"}
_ROW_INCHES, _MARGIN_INCHES = 0.19, 1.3
_FLOOR = 1e-9
_COLORS = ("#b2182b", "#ef8a62", "#e0a800", "#4393c3", "#2166ac", "#999999", "#555555")


def draw(report: SensitivityReport, path: Path) -> Path:
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


def _draw_dots(axes: Any, report: SensitivityReport) -> None:
    places = {name: row_index for row_index, name in enumerate(report.layers)}
    rows = [r for r in report.rows if r.scheme != FP32 and r.loss < float("inf") and not r.note]
    schemes = [scheme for scheme in report.schemes if any(row.scheme == scheme for row in rows)]
    for index, scheme in enumerate(schemes):
        scheme_rows = [row for row in rows if row.scheme == scheme]
        axes.scatter(
            [max(row.loss, _FLOOR) for row in scheme_rows],
            [places[row.layer] for row in scheme_rows],
            s=22,
            color=_COLORS[index % len(_COLORS)],
            label=scheme.name,
        )
    axes.set_xscale("log")
    axes.set_xlabel(_LABELS[report.objective])
    axes.set_yticks(range(len(places)), list(places), fontsize=8)
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    for row_index in places.values():
        axes.axhline(row_index, color="#eeeeee", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=max(1, len(schemes)), frameon=False
    )


def _draw_sizes(axes: Any, report: SensitivityReport) -> None:
    whole: list[Row] = [row for row in report.rows if row.scheme == FP32]
    axes.barh(range(len(whole)), [row.nbytes / 1e6 for row in whole], color="#bbbbbb", height=0.7)
    axes.set_xlabel("size in FP32, MB")
    axes.tick_params(axis="y", length=0)
