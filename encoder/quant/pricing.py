"""Files of short codes: what errors cost, codes at a price per bit, the price that a size needs.

Importing this imports torch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from encoder.quant.allocate import BudgetWarning
from encoder.quant.calibration import Batch, Objective, run
from encoder.quant.fisher import fisher_diagonals, lookup_grams
from encoder.quant.inputs import Gram, grams, to_columns, to_rows
from encoder.quant.layers import Layer, find_layers
from encoder.quant.quantized import QuantizedModel, model_nbytes
from encoder.quant.rounding import Choose, hqq, sweep, walk
from encoder.quant.schemes import FP32, INT3, INT4, INT5, INT6, INT8, SCALE_BYTES, Scheme
from encoder.quant.weights import Rounded, float16_scales, sizes_of_rows

SHRINKAGES = (0.05, 0.2, 0.5)
"""To try on Gram matrices; the best depends on how many inputs there are for their columns."""
_LEAST_INPUT, _LEAST_WORTH, _TINY = 1e-3, 1e-2, 1e-12
"""Shares of the layer's mean: a channel that is idle on this data may matter for other data."""


@dataclass(frozen=True, eq=False)
class Worth:
    """What errors in one layer's rows cost; bits and output loss are traded at one price.

    Args:
        errors: float32 [n_rows, 1], what the model's output loses by a squared error of 1 in a
            row's output.
        steps: float32 [n_rows, 1], steps between codes at a price of 1 per bit.
        shrinkage: of the layer's Gram matrix, see `Gram`.
    """

    errors: Tensor
    steps: Tensor
    shrinkage: float = SHRINKAGES[0]

    def shrunk(self, gram: Gram) -> Gram:
        """A Gram matrix of the layer's inputs with the best shrinkage."""
        return gram if gram.shrinkage == self.shrinkage else Gram(gram.values, self.shrinkage)

    def steps_at(self, price: float) -> Tensor:
        """Steps [n_rows, 1] at a price per bit, in the unit of the output's loss."""
        return self.steps * math.sqrt(price)


class Priced(NamedTuple):
    """Layers whose rows get steps that follow from a price per bit."""

    price: float
    worths: Mapping[str, Worth]


def worths(
    model: nn.Module, layers: Mapping[str, Layer], batches: Sequence[Batch], objective: Objective
) -> dict[str, Worth]:
    """The worth of each layer whose inputs and gradient are seen, by name.

    To second order an error δ in a row loses ½ δᵀFδ, where F is the Fisher information. F is
    approximated by a multiple of the Gram matrix of the layer's inputs with the same trace (as in
    KFAC, Martens & Grosse, 2015, for each row separately).

    Raises:
        ModelError: no gradient reaches any layer, or the output is not finite.
    """
    halves = batches[::2], batches[1::2] or batches
    n_classes = run(model, batches[0]).shape[-1] if objective == "kl" else 0
    first_half, second_half = (fisher_diagonals(model, layers, half, objective) for half in halves)
    worth_by_layer = {}
    for name, gram, judge in _grams(model, layers, batches, objective):
        losses = torch.stack([first_half[name].sum(1), second_half[name].sum(1)])
        if losses.any():
            share_left, shrinkage = _left(gram, judge)
            # tokens and classes that do not occur in this data count too
            alike = layers[name].kind == "embedding" or layers[name].n_rows == n_classes
            errors = _errors(losses, judge, alike=alike)
            # One more bit for each value of a row takes 6 dB off its error, which is a twelfth of
            # the squared step times what GPTQ leaves: the steps at which that is worth the price.
            steps = (6 / (math.log(2) * errors * share_left[:, None])).sqrt()
            worth_by_layer[name] = Worth(errors.view(-1, 1), steps.view(-1, 1), shrinkage)
    return worth_by_layer


def _grams(
    model: nn.Module, layers: Mapping[str, Layer], batches: Sequence[Batch], objective: Objective
) -> Iterator[tuple[str, Gram, Gram]]:
    """Each layer's Gram matrix from either half of the batches; a table's is from all of them."""
    for name, gram in lookup_grams(model, layers, batches, objective).items():
        yield name, gram, gram
    multiplied = {name: layer for name, layer in layers.items() if layer.kind != "embedding"}
    halves = batches[::2], batches[1::2] or batches
    for share, judges in zip(*(grams(model, multiplied, half) for half in halves), strict=True):
        for name in share.keys() & judges.keys():
            yield name, share[name], judges[name]


def _errors(losses: Tensor, gram: Gram, *, alike: bool) -> Tensor:
    """What a squared error in a row's output costs, [n_conv_groups, n_rows].

    Args:
        losses: by the Fisher information of two halves of the data, [2, n_rows].
        gram: of the inputs.
        alike: use the mean for all rows; otherwise only as far as single rows are unreliable.
    """
    energy = gram.diagonal.sum(1)
    energy = energy.clamp_min(float(energy.mean()) * _LEAST_INPUT)
    by_half = 0.5 * losses.view(2, len(energy), -1) / energy[:, None]
    errors, mean = by_half.mean(0), by_half.mean()
    reliability = 0.0 if alike else _reliability(*by_half.flatten(1))
    return (mean + reliability * (errors - mean)).clamp_min(mean * _LEAST_WORTH)


def _reliability(first: Tensor, second: Tensor) -> float:
    """The share of the variance between rows, in the mean of two measurements, that is not noise.

    From the correlation of the measurements (Spearman, 1910; Brown, 1910).
    """
    pair = torch.stack([first, second])
    correlation = float(torch.corrcoef(pair)[0, 1]) if pair.shape[1] > 1 else 0.0
    shared = max(0.0, correlation) if correlation == correlation else 0.0
    return 2 * shared / (1 + shared)


def _left(gram: Gram, judge: Gram) -> tuple[Tensor, float]:
    """The share of a column's squared miss that GPTQ leaves, on inputs that it did not see.

    Later columns make up for the rest; on inputs that were seen they would seem to make up for
    more.

    Returns:
        The geometric mean over columns, [n_conv_groups], with the best shrinkage; and that
        shrinkage.
    """
    rows = gram.order.unsqueeze(2).expand_as(gram.values)
    unseen = judge.values.gather(1, rows).gather(2, rows.transpose(1, 2))
    best = torch.full((len(unseen),), torch.inf), SHRINKAGES[-1]
    for shrinkage in SHRINKAGES:
        factor = Gram(gram.values, shrinkage).factor
        if factor is None:
            continue
        missed = ((factor @ unseen) * factor).sum(2) / factor.diagonal(dim1=1, dim2=2).square()
        least = float(missed.mean()) * _LEAST_INPUT
        shares = missed.clamp_min(max(least, _TINY)).log().mean(1).exp()
        if shares.log().mean() < best[0].log().mean():
            best = shares, shrinkage
    return best


_SWEEPS = 2
FINER = 0.9
"""As a share of a step: a price keeps many codes at 0, so steps can be a little finer."""
_CODES, _FINENESS = 256, 2.0
_UNSEEN = 0.01
"""Added to each code's count, so that codes that do not occur have a length too."""


def at_price(rows: Tensor, worth: Worth, price: float, gram: Gram) -> Rounded:
    """INT8 codes, each of which trades its length against the error that it leaves.

    GPTQ on the steps that the price gives, then coordinate descent on the cost of the error plus
    the price of all bits (rate-distortion optimization, as in video coding: Sullivan & Wiegand,
    1998), using the code lengths of an ideal code for this layer.

    Args:
        rows: float32 [n_rows, n_columns].
        worth: of the rows.
        price: per bit, in the unit of the output's loss.
        gram: of the layer's inputs, shrunk (`Worth.shrunk`); HQQ rounds if it has no factor.
    """
    if gram.factor is None:
        return hqq(rows, INT8)
    steps = reaching(rows, worth.steps_at(price) * FINER)
    spread_steps = to_columns(steps.expand_as(rows), gram)
    codes = walk(to_columns(rows, gram), spread_steps, gram.factor, _nearest)
    rounded = Rounded(to_rows(codes, gram).to(torch.int8), steps)
    errors = worth.errors.view(gram.order.shape[0], -1)
    for _ in range(_SWEEPS):
        choose = _cheapest(errors / price, code_lengths(rounded.codes).view(*errors.shape, -1))
        rounded = sweep(rows, rounded, gram, choose)
    return rounded


def narrowest(codes: Tensor) -> Scheme:
    """The scheme with one scale per row that holds these codes in the fewest bits."""
    low, high = int(codes.min()), int(codes.max())
    schemes = (INT3, INT4, INT5, INT6, INT8)
    return next(x for x in schemes if -x.largest_code - 1 <= low and high <= x.largest_code)


def code_lengths(codes: Tensor) -> Tensor:
    """The length in bits of each code from −128 to 127, for each row: float32 [n_rows, 256].

    These are the lengths in an ideal code; as in `packing.shorten`, rows of about the same size
    share one.
    """
    sizes = sizes_of_rows(codes, _FINENESS).long()
    places = sizes[:, None] * _CODES + codes + _CODES // 2
    counts = torch.bincount(places.flatten(), minlength=_CODES * (int(sizes.max()) + 1))
    counts = counts.view(-1, _CODES) + _UNSEEN
    return -(counts / counts.sum(1, keepdim=True)).log2()[sizes]


def reaching(rows: Tensor, wished: Tensor) -> Tensor:
    """The steps as ``wished``, or larger where INT8 needs that to reach the row's largest value."""
    largest = rows.abs().amax(1, keepdim=True)
    return float16_scales(torch.minimum(wished, largest).maximum(largest / INT8.largest_code))


def _nearest(wishes: Tensor, _miss: Tensor) -> Tensor:
    return wishes.round_().clamp_(-INT8.largest_code - 1, INT8.largest_code)


def _cheapest(errors: Tensor, bits: Tensor) -> Choose:
    """The nearest code or its neighbour towards 0, whichever costs less.

    Args:
        errors: the cost of a squared error of 1, in bits, [n_conv_groups, n_rows].
        bits: the lengths of the codes, [n_conv_groups, n_rows, 256].
    """

    def choose(wishes: Tensor, miss: Tensor) -> Tensor:
        weights = errors * miss.square()
        near = _nearest(wishes.clone(), miss)
        shorter = near - near.sign()
        costs = [
            weights * (wishes - codes).square()
            + bits.gather(2, (codes + _CODES // 2).long().unsqueeze(2)).squeeze(2)
            for codes in (near, shorter)
        ]
        return torch.where(costs[1] < costs[0], shorter, near)

    return choose


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

    Raises:
        ModelError: no gradient reaches any layer, or the output is not finite.

    Warns:
        BudgetWarning: no price that was tried meets the budget; the last one's model is returned.
    """
    layers = find_layers(model, batches[0])
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
    rows = {name: _sample(layers[name].rows()) for name in worths}

    def n_bytes(price: float) -> float:
        return sum(
            _code_bytes(layers[name], rows[name], _sample(worth.steps_at(price) * FINER))
            for name, worth in worths.items()
        )

    low, high = _PRICES
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if n_bytes(2**middle) > max_bytes else (low, middle)
    return 2**high


def _sample(rows: Tensor) -> Tensor:
    """At most `_MAX_ROWS` of the rows, evenly spaced."""
    return rows[:: -(-len(rows) // _MAX_ROWS)]


def _code_bytes(layer: Layer, rows: Tensor, steps: Tensor) -> float:
    codes = (rows / reaching(rows, steps)).round().clamp(-128, 127).to(torch.int8)
    lengths = code_lengths(codes).gather(1, codes.long() + 128)
    return float(lengths.mean()) * layer.weight.numel() / 8
