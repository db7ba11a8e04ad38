"""MiniLM in few bits: how near its vectors stay, and whether titles still find their texts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.harness.reporting import Bar, Settings, report
from benchmarks.quant.networks.subjects import minilm
from benchmarks.quant.quality import ways
from benchmarks.quant.quality.compare import Column, compare

_PAIRS = 2000
_COLUMNS = (
    Column("cosine, mean", "cosine", ".4f"),
    Column("cosine, least", "cosine_min", ".3f"),
    Column("R@1, %", "recall_at_1", ".2f", 100),
    Column("change, points", "recall_change", "+.2f", 100),
)
_QUARTER, _EIGHTH = "Quantizer, 1/4", "Quantizer, 1/8"
_BARS = {
    _QUARTER: {"cosine": Bar(at_least=0.997)},
    _EIGHTH: {
        "× smaller": Bar(at_least=8.0),
        "cosine": Bar(at_least=0.983),
        "recall_change": Bar(at_least=-0.3),
    },
}


def main(settings: Settings) -> None:
    """Judge the Quantizer at four sizes."""
    subject = minilm(settings, settings.items(_PAIRS, 40))
    budgets = {_QUARTER: "1/4", "Quantizer, 6.4×": "6.4x", "Quantizer, 7×": "7x", _EIGHTH: "1/8"}
    made: dict[str, Callable[[], ways.Way]] = {"float32": partial(ways.as_it_is, subject)}
    made |= {name: partial(ways.mixed, subject, budget) for name, budget in budgets.items()}
    judged = (
        f"Judged on {subject.name.partition(' on ')[2]} of titles and descriptions of Debian "
        "packages: cosines of all texts to float32, and R@1 of titles among the descriptions. "
        f"Fitted and ranked on {subject.n_calibration} texts of other packages. Every byte "
        "counts: codes, scales, zero points, norms, biases."
    )
    body = compare(subject, made, _COLUMNS, _BARS)
    report(settings, "Quantized MiniLM: quality by size", judged, body)
