"""MiniLM in few bits: how near its vectors stay, and whether titles still find their texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.quant import ways
from benchmarks.quant.compare import Column, compare
from benchmarks.quant.sections import Bar, Settings, report
from benchmarks.quant.subjects import Subject, minilm

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
    """Judge the Quantizer at four sizes, beside uniform schemes."""
    n_pairs = settings.items(_PAIRS, 40)
    subject = minilm(settings, n_pairs)
    judged = (
        f"Cosines of {2 * n_pairs} texts to float32; R@1 of {n_pairs} titles of Debian packages "
        f"among as many descriptions. Fitted and ranked on {subject.n_calibration} titles and "
        "descriptions of other packages. Every byte counts: codes, scales, zero points, norms, "
        "biases. GPTQ of ModelOpt does Linear layers only; the tables of tokens and positions "
        "are then those of the row INT4, GPTQ."
    )
    body = compare(subject, _ways(subject), _COLUMNS, _BARS)
    report(settings, "Quantized MiniLM: quality by size", judged, body)


def _ways(subject: Subject) -> Mapping[str, Callable[[], ways.Way]]:
    return {
        "float32": lambda: ways.as_it_is(subject),
        _QUARTER: lambda: ways.mixed(subject, "1/4"),
        "Quantizer, 6.4×": lambda: ways.mixed(subject, "6.4x"),
        "Quantizer, 7×": lambda: ways.mixed(subject, "7x"),
        _EIGHTH: lambda: ways.mixed(subject, "1/8"),
        "INT8, GPTQ": lambda: ways.uniform(subject, "int8", "gptq"),
        "INT4, to nearest": lambda: ways.uniform(subject, "int4", "rtn"),
        "INT4, HQQ (hqq)": lambda: ways.hqq_of_its_authors(subject),
        "INT4, GPTQ (ModelOpt)": lambda: ways.gptq_of_modelopt(subject),
        "INT4, GPTQ": lambda: ways.uniform(subject, "int4", "gptq"),
        "INT4 in groups of 64, GPTQ": lambda: ways.uniform(subject, "int4g64", "gptq"),
    }
