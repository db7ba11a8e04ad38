"""How estimates without data order the layers, compared with losses on real texts and photographs.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.harness.reporting import Settings, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant.networks.subjects import Subject, lite, minilm
from encoder.quant.quantizer import Quantizer
from encoder.quant.report.report import SensitivityReport
from encoder.quant.schemes import INT4
from encoder.quant.sensitivity.by_weights import by_weights
from encoder.quant.sensitivity.calibration import Batch, CalibrationData
from encoder.quant.sensitivity.measured import analyze
from encoder.quant.sensitivity.synthetic import synthetic

_INTRO = (
    "Spearman's ρ between the layers' losses at INT4 as estimated and as measured on real data: "
    "half of 128 pairs of texts, half of 125 photographs. Fisher's information has that data too. "
    "Made-up inputs are texts of 32 tokens drawn alike, and noise at several scales that is then "
    "changed in 30 steps until batch norms see what they saw in training."
)


def main(settings: Settings) -> None:
    """Both networks; measurements are not kept."""
    torch.set_num_threads(1)
    subjects: Mapping[str, Callable[[], Subject]] = {
        "MiniLM": lambda: minilm(settings, 1),
        "EfficientNet-Lite0": lambda: lite(settings, "lite0", 1),
    }
    found = {name: agreements(make()) for name, make in subjects.items()}
    names = next(iter(found.values()))
    rows = [[name, *(f"{each[name]:.2f}" for each in found.values())] for name in names]
    report(settings, "Layers in order without data", _INTRO, table(["losses from", *found], rows))


def agreements(subject: Subject) -> dict[str, float]:
    """Spearman's ρ between each way's estimates and the measured losses."""
    note(f"{subject.name}: measured")
    measured = _losses(_quantizer(subject, subject.data).analyze_sensitivity(schemes=["int4"]))
    found = {}
    for name, estimate in _estimates(subject).items():
        note(name)
        found[name] = rank_agreement(measured, _losses(estimate()))
        note(f"{name}: {found[name]:.2f}, {len(measured)} layers")
    return found


def rank_agreement(measured: Mapping[str, float], estimated: Mapping[str, float]) -> float:
    """Spearman's ρ over the layers of ``measured``.

    >>> round(rank_agreement({"a": 1.0, "b": 2.0, "c": 9.0}, {"c": 3.0, "b": 2.0, "a": 0.0}), 6)
    1.0
    """
    pairs = [(loss, estimated[name]) for name, loss in measured.items()]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _estimates(subject: Subject) -> Mapping[str, Callable[[], SensitivityReport]]:
    model = subject.model
    return {
        "inputs made from the model": lambda: _on(subject, synthetic(model)),
        "the same, batch norms not matched": lambda: _on(subject, synthetic(model, n_steps=0)),
        "white noise, tokens as they are": lambda: _on(subject, noise(subject.data)),
        "errors of the weights": lambda: by_weights(model, [INT4]),
        "Fisher's information, real data": lambda: _quantizer(
            subject, subject.data
        ).analyze_sensitivity(mode="fisher", schemes=["int4"]),
    }


def noise(data: CalibrationData) -> CalibrationData:
    """The same shapes with white noise for floats; integers and masks stay."""

    def drawn(batch: Batch) -> Batch:
        assert isinstance(batch, Mapping)
        return {name: _noise(value) for name, value in batch.items()}

    return CalibrationData([drawn(x) for x in data.fit], [drawn(x) for x in data.score])


def _noise(value: Tensor) -> Tensor:
    is_pixels = value.is_floating_point() and value.ndim > 2
    return torch.randn_like(value) if is_pixels else value


def _on(subject: Subject, data: CalibrationData | None) -> SensitivityReport:
    """As the Quantizer does without data: weights as they are, rounded by HQQ."""
    assert data is not None
    return analyze(subject.model, data, schemes=[INT4], objective=subject.objective, rounding="hqq")


def _quantizer(subject: Subject, data: CalibrationData) -> Quantizer:
    return Quantizer(subject.model, data, objective=subject.objective, progress=False)


def _losses(found: SensitivityReport) -> dict[str, float]:
    return {row.layer: row.loss for row in found.rows if row.scheme == INT4}
