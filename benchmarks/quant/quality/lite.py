"""EfficientNet-Lite in few bits: whether it still gives the same answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.harness.reporting import Bar, Settings, report
from benchmarks.quant.networks import subjects
from benchmarks.quant.networks.subjects import Subject
from benchmarks.quant.quality import ways
from benchmarks.quant.quality.compare import Column, compare

_PICTURES = 875
_COLUMNS = (
    Column("agreement, %", "agreement", ".1f", 100),
    Column("KL", "kl", ".4f"),
    Column("top-1, %", "top1", ".1f", 100),
    Column("change, points", "top1_change", "+.1f", 100),
)
_NEAR, _EIGHTH = "Quantizer, 6.1×", "Quantizer, 8×"
_TOP1 = {"top1_change": Bar(at_least=-0.8)}
_BARS = {
    _NEAR: {
        "× smaller": Bar(at_least=6.1),
        "agreement": Bar(at_least=96.5),
        "kl": Bar(at_most=0.027),
        **_TOP1,
    },
    _EIGHTH: {"× smaller": Bar(at_least=8.0), **_TOP1},
}


def lite0(settings: Settings) -> None:
    """Judge EfficientNet-Lite0 at several sizes."""
    n_pictures = settings.items(_PICTURES, 20)
    subject = subjects.lite0(settings, n_pictures)
    judged = (
        f"On {n_pictures} pictures, one of a class each (top-1 is good to ±1.5 points: trust "
        "agreement and KL); every eighth class gives the "
        f"{subject.n_calibration} others: half fit and half rank the layers, then the chosen "
        "schemes are rounded again on all. GPTQ of uniform schemes fits on all, too. "
        "Weights only; every byte counts."
    )
    body = compare(subject, _ways(subject), _COLUMNS, _BARS)
    report(settings, "Quantized EfficientNet-Lite0: quality by size", judged, body)


def _ways(subject: Subject) -> Mapping[str, Callable[[], ways.Way]]:
    return {
        "float32": lambda: ways.as_it_is(subject),
        _NEAR: lambda: ways.mixed(subject, "6.1x", refit=True),
        "Quantizer, 7×": lambda: ways.mixed(subject, "7x", refit=True),
        _EIGHTH: lambda: ways.mixed(subject, "8x", refit=True),
        "INT8, GPTQ": lambda: ways.uniform(subject, "int8"),
        "INT4, GPTQ": lambda: ways.uniform(subject, "int4"),
    }
