"""Ways to store a network in few bits: ours and others'. Each gives a float32 model to judge.

Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from benchmarks.quant.networks.subjects import Subject
from encoder.quant.export_onnx import float_twin
from encoder.quant.quantized import QuantizedModel, model_nbytes
from encoder.quant.quantizer import Quantizer


@dataclass(frozen=True, eq=False)
class Way:
    """A network as restored from few bits.

    Args:
        model: float32, the architecture of the original.
        nbytes: stored: codes, scales, zero points, biases, norms, whatever stays float32.
        schemes: how many layers have each scheme, in words.
    """

    model: nn.Module
    nbytes: int
    schemes: str = ""


def as_it_is(subject: Subject) -> Way:
    """The original."""
    return Way(subject.model, model_nbytes(subject.model))


def mixed(
    subject: Subject,
    budget: str,
    *,
    refit: bool = False,
) -> Way:
    """`Quantizer.apply` with a budget.

    Args:
        subject: half of its data fits, half ranks the layers.
        budget: as `Quantizer.apply` takes it.
        refit: once the schemes are chosen, round again on all calibration data.
    """
    quantizer = Quantizer(subject.model, subject.data, objective=subject.objective)
    quantized = quantizer.apply(budget=budget)
    if refit:
        quantizer = Quantizer(subject.model, subject.everything, objective=subject.objective)
        quantized = quantizer.apply(quantized.schemes)
    return _way(quantized)


def uniform(subject: Subject, scheme: str) -> Way:
    """The same scheme for all layers, fitted on all calibration data."""
    quantizer = Quantizer(subject.model, subject.everything, objective=subject.objective)
    return _way(quantizer.apply(scheme))


def _way(quantized: QuantizedModel) -> Way:
    names = [scheme.name for scheme in quantized.schemes.values()]
    counts = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
    return Way(float_twin(quantized.module), quantized.nbytes, counts)
