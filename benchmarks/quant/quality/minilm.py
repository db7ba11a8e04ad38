"""MiniLM in few bits: how near its vectors stay, and whether titles still find their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.harness.reporting import Bar, Settings, report
from benchmarks.quant.networks.subjects import Subject, minilm
from benchmarks.quant.quality import ways
from benchmarks.quant.quality.compare import Column, compare

Made = Mapping[str, Callable[[], ways.Way]]
_PAIRS, _FEW_PAIRS = 2000, 500
_COLUMNS = (
    Column("cosine, mean", "cosine", ".4f"),
    Column("cosine, least", "cosine_min", ".3f"),
    Column("R@1, %", "recall_at_1", ".2f", 100),
    Column("change, points", "recall_change", "+.2f", 100),
)
_QUARTER, _EIGHTH, _TUNED = "Quantizer, 1/4", "Quantizer, 1/8", "Quantizer, 1/8, tuned"
_SHORT = "Quantizer, 1/8 of the file"
_TUNE_STEPS = 450
_BARS = {
    _QUARTER: {"cosine": Bar(at_least=0.997)},
    _TUNED: {
        "× smaller": Bar(at_least=8.0),
        "cosine": Bar(at_least=0.983),
        "recall_change": Bar(at_least=-0.3),
    },
    _SHORT: {"× smaller": Bar(at_least=8.0), "cosine": Bar(at_least=0.983)},
}


def main(settings: Settings) -> None:
    """Judge the Quantizer at four sizes."""
    subject = minilm(settings, settings.items(_PAIRS, 40))
    budgets = {_QUARTER: "1/4", "Quantizer, 6.4×": "6.4x", "Quantizer, 7×": "7x", _EIGHTH: "1/8"}
    ours = {name: partial(ways.mixed, subject, budget) for name, budget in budgets.items()}
    ours[_TUNED] = partial(ways.mixed, subject, "1/8", tune_steps=settings.items(_TUNE_STEPS, 2))
    _judge(settings, "Quantized MiniLM: quality by size", subject, ours)


def uniform(settings: Settings) -> None:
    """Judge the same scheme for all layers, with several ways of rounding."""
    subject = minilm(settings, settings.items(_PAIRS, 40))
    plain = partial(ways.uniform, subject)
    others = {
        "INT8, GPTQ": partial(plain, "int8"),
        "INT4, HQQ (hqq)": partial(ways.hqq_of_its_authors, subject),
        "INT4, GPTQ": partial(plain, "int4"),
        "INT4 in groups of 64, GPTQ": partial(plain, "int4g64"),
    }
    _judge(settings, "Quantized MiniLM: uniform schemes", subject, others)


def short(settings: Settings) -> None:
    """Judge a file of short codes."""
    subject = minilm(settings, settings.items(_FEW_PAIRS, 40))
    made: Made = {
        "float32": partial(ways.as_it_is, subject),
        _SHORT: partial(ways.short, subject, "1/8"),
    }
    judged = (
        f"Judged on {subject.name.partition(' on ')[2]} of titles and descriptions of Debian "
        "packages. MB is the whole file of weights that `save(folder, short=True)` writes; the "
        f"price of a bit was fitted on {subject.n_calibration} texts of other packages."
    )
    title = "Quantized MiniLM: short codes"
    report(settings, title, judged, compare(subject, made, _COLUMNS, _BARS))


def _judge(settings: Settings, title: str, subject: Subject, made: Made) -> None:
    judged = (
        f"Judged on {subject.name.partition(' on ')[2]} of titles and descriptions of Debian "
        "packages: cosines of all texts to float32, and R@1 of titles among the descriptions. "
        f"Fitted and ranked on {subject.n_calibration} texts of other packages. Every byte "
        "counts: codes, scales, zero points, norms, biases. Tuning takes "
        f"{_TUNE_STEPS} batches of texts of yet other packages."
    )
    everything: Made = {"float32": partial(ways.as_it_is, subject), **made}
    report(settings, title, judged, compare(subject, everything, _COLUMNS, _BARS))
