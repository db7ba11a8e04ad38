"""The price per bit at which a file has the requested size.

Importing this imports torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from encoder.quant.allocate import BudgetWarning
from encoder.quant.calibration import Batch, Objective
from encoder.quant.fit import Priced
from encoder.quant.layers import Layer, find_layers
from encoder.quant.pricing import FINER, Worth, code_lengths, reaching, worths
from encoder.quant.quantized import QuantizedModel, model_nbytes
from encoder.quant.schemes import FP32, INT8, SCALE_BYTES, Scheme

_ATTEMPTS = 5
_NEAR_ENOUGH = 0.995
_AIM = 0.998
"""Shares of the budget: where to stop, and what to aim for."""
_PRICES = -60.0, 0.0
"""Logarithms to base 2 of the least and the greatest price."""
_HALVINGS = 20
_MAX_ROWS = 256
"""The most rows of a layer that are used to find a first price."""


def within(
    max_bytes: int,
    model: nn.Module,
    pins: Mapping[str, Scheme],
    batches: Sequence[Batch],
    objective: Objective,
    make: Callable[[Mapping[str, Scheme], Priced], QuantizedModel],
) -> QuantizedModel:
    """The largest file of short codes found within a budget.

    Args:
        max_bytes: of the file.
        model: in eval mode.
        pins: schemes of layers that are not priced.
        batches: the batches that fit the weights.
        objective: of the output.
        make: quantizes with these schemes, and the priced layers at a price.

    Raises:
        ModelError: no gradient reaches any layer, or the output is not finite.

    Warns:
        BudgetWarning: no price that was tried meets the budget; the last one's model is returned.
    """
    layers = find_layers(model)
    free = {name: layer for name, layer in layers.items() if name not in pins}
    costs = worths(model, free, batches, objective)
    schemes = {**dict.fromkeys(free, INT8), **pins}
    other_bytes = model_nbytes(model) - sum(layer.nbytes(FP32) for layer in layers.values())
    other_bytes += sum(layers[name].nbytes(scheme) for name, scheme in pins.items())
    other_bytes += sum(SCALE_BYTES * layers[name].n_rows for name in costs)
    price = _price(max_bytes - other_bytes, layers, costs)
    n_values = sum(layers[name].weight.numel() for name in costs) or 1
    return _search(max_bytes, price, n_values, lambda price: make(schemes, Priced(price, costs)))


def _search(
    max_bytes: int, price: float, n_values: int, make: Callable[[float], QuantizedModel]
) -> QuantizedModel:
    best: tuple[int, QuantizedModel] | None = None
    for _ in range(_ATTEMPTS):
        quantized = make(price)
        n_bytes = quantized.short_nbytes
        if n_bytes <= max_bytes and (best is None or n_bytes > best[0]):
            best = n_bytes, quantized
        if _NEAR_ENOUGH * max_bytes <= n_bytes <= max_bytes:
            break
        # one bit less per value means four times the price
        price *= 4 ** (8 * (n_bytes - _AIM * max_bytes) / n_values)
    if best is None:
        message = f"{max_bytes} bytes cannot be met: the file has {n_bytes}."
        warnings.warn(message, BudgetWarning, stacklevel=5)
        return quantized
    return best[1]


def _price(max_bytes: int, layers: Mapping[str, Layer], worths: Mapping[str, Worth]) -> float:
    """The price at which the codes of these layers, rounded to nearest, fit into the bytes."""
    rows = {name: _some(layers[name].rows()) for name in worths}

    def n_bytes(price: float) -> float:
        return sum(
            _bytes(layers[name], rows[name], _some(worth.steps_at(price) * FINER))
            for name, worth in worths.items()
        )

    low, high = _PRICES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if n_bytes(2**middle) > max_bytes else (low, middle)
    return 2**high


def _some(rows: Tensor) -> Tensor:
    """At most `_MAX_ROWS` of the rows, evenly spaced."""
    return rows[:: -(-len(rows) // _MAX_ROWS)]


def _bytes(layer: Layer, rows: Tensor, steps: Tensor) -> float:
    codes = (rows / reaching(rows, steps)).round().clamp(-128, 127).to(torch.int8)
    lengths = code_lengths(codes).gather(1, codes.long() + 128)
    return float(lengths.mean()) * layer.weight.numel() / 8
