"""Sensitivity from the weights alone, where a model's inputs are unknown.

If a layer's inputs are equally likely in all directions, rounding adds noise to its output with the
weights' relative squared error, and vectors that are off by such noise lose half of it in cosine.
How later layers change that is not known. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from encoder.quant.layers import Layer, some_layers, unsupported
from encoder.quant.quantized import model_nbytes
from encoder.quant.report.losses import Row
from encoder.quant.report.report import SensitivityReport
from encoder.quant.rounding import round_rows
from encoder.quant.schemes import FP16, FP32, Scheme
from encoder.quant.sensitivity.measured import candidates

NOTE = "There was no calibration data, and none could be made: losses are errors of the weights."


def by_weights(model: nn.Module, schemes: Sequence[Scheme] | None = None) -> SensitivityReport:
    """Estimate the loss of every layer in every candidate scheme from its weights' errors.

    Args:
        model: any module.
        schemes: integer ones to try; None for `candidates`.

    Raises:
        InputError: no layer that can be quantized, or weights that are not finite.
    """
    rows = [row for layer in some_layers(model).values() for row in _rows(layer, schemes)]
    return SensitivityReport(
        rows=tuple(rows),
        objective="cosine",
        mode="weights",
        fp32_nbytes=model_nbytes(model),
        n_items=0,
        unsupported=tuple(unsupported(model)),
        notes=(NOTE,),
    )


def _rows(layer: Layer, schemes: Sequence[Scheme] | None) -> list[Row]:
    weight = layer.rows()
    offered = [each for each in schemes or candidates(layer) if each.fits(layer.n_columns)]
    losses = {
        scheme: _loss(weight, round_rows(weight, scheme, None, "mse").dequantize())
        for scheme in offered
        if scheme.is_integer
    }
    losses |= {FP16: _loss(weight, weight.half().float()), FP32: 0.0}
    n_values = layer.weight.numel()
    return [
        Row(layer.name, layer.kind, scheme, loss, layer.nbytes(scheme), n_values)
        for scheme, loss in losses.items()
    ]


def _loss(weight: Tensor, rounded: Tensor) -> float:
    """Half the relative squared error; infinite if a value overflows."""
    energy = float(weight.square().sum()) or 1.0
    loss = 0.5 * float((rounded - weight).square().sum()) / energy
    return loss if loss == loss else float("inf")
