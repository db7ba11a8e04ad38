"""A network to quantize, and ways to store it in few bits; each gives a float32 model to judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from encoder.quant.calibration import CalibrationData, Objective, batch_items
from encoder.quant.export_onnx import float_twin
from encoder.quant.quantized import QuantizedModel, model_nbytes
from encoder.quant.quantizer import Quantizer

Figures = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to quantize.

    Args:
        name: of the network and of the data that judge.
        model: float32.
        objective: how its loss is measured.
        data: half fits, half ranks the layers; none of it judges.
        answer: a float32 model's outputs on the data that judge, [n, d].
        compare: figures that compare another model's outputs with the original's.
    """

    name: str
    model: nn.Module
    objective: Objective
    data: CalibrationData
    answer: Callable[[nn.Module], Tensor]
    compare: Callable[[Tensor, Tensor], Figures]

    @property
    def everything(self) -> CalibrationData:
        """All calibration data, to fit; the loss that the Quantizer then reports means nothing."""
        return CalibrationData([*self.data.fit, *self.data.score], self.data.score[:1])

    @cached_property
    def chooser(self) -> Quantizer:
        """Analyses the layers once for all budgets."""
        return Quantizer(self.model, self.data, objective=self.objective)

    @property
    def n_calibration(self) -> int:
        """How many items fit or rank."""
        return sum(batch_items(batch) for batch in self.everything.fit)

    @cached_property
    def original(self) -> Tensor:
        """The original's outputs on the data that judge."""
        return self.answer(self.model)

    def judge(self, model: nn.Module) -> Figures:
        """Figures of a model on data that nothing was fitted to."""
        return self.compare(self.original, self.answer(model))


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


def mixed(subject: Subject, budget: str) -> Way:
    """`Quantizer.apply` with a budget; the chosen schemes are rounded again on all of the data."""
    schemes = subject.chooser.apply(budget=budget).schemes
    quantizer = Quantizer(subject.model, subject.everything, objective=subject.objective)
    return _way(quantizer.apply(schemes))


def uniform(subject: Subject, scheme: str) -> Way:
    """The same scheme for all layers, fitted on all calibration data."""
    quantizer = Quantizer(subject.model, subject.everything, objective=subject.objective)
    return _way(quantizer.apply(scheme))


def _way(quantized: QuantizedModel) -> Way:
    names = [scheme.name for scheme in quantized.schemes.values()]
    counts = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
    return Way(float_twin(quantized.module), quantized.nbytes, counts)
