"""What an error in a layer's output costs, and thus how far apart its codes can be.

Importing this imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoder.quant.layers import Layer
from encoder.quant.rounding.collect import grams
from encoder.quant.rounding.gram import Gram
from encoder.quant.sensitivity.calibration import Batch, run
from encoder.quant.sensitivity.divergence import Objective
from encoder.quant.sensitivity.fisher import fisher_diagonals, lookup_grams

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


def worths(
    model: nn.Module, layers: Mapping[str, Layer], batches: Sequence[Batch], objective: Objective
) -> dict[str, Worth]:
    """The worth of each layer whose inputs and gradient are seen, by name.

    To second order an error δ in a row loses ½ δᵀFδ, where F is the Fisher information. F is
    approximated by a multiple of the Gram matrix of the layer's inputs with the same trace (as in
    KFAC, Martens & Grosse, 2015, for each row separately).

    Args:
        model: in eval mode.
        layers: of the model.
        batches: the batches that fit the weights.
        objective: of the output.

    Raises:
        ModelError: no gradient reaches any layer, or the output is not finite.
    """
    halves = batches[::2], batches[1::2] or batches
    n_classes = run(model, batches[0]).shape[-1] if objective == "kl" else 0
    seen, unseen = (fisher_diagonals(model, layers, half, objective) for half in halves)
    found = {}
    for name, gram, judge in _grams(model, layers, batches, objective):
        losses = torch.stack([seen[name].sum(1), unseen[name].sum(1)])
        if losses.any():
            left, shrinkage = _left(gram, judge)
            # tokens and classes that do not occur in this data count too
            alike = layers[name].kind == "embedding" or layers[name].n_rows == n_classes
            errors = _errors(losses, judge, alike=alike)
            # One more bit for each value of a row takes 6 dB off its error, which is a twelfth of
            # the squared step times what GPTQ leaves: the steps at which that is worth the price.
            steps = (6 / (math.log(2) * errors * left[:, None])).sqrt()
            found[name] = Worth(errors.view(-1, 1), steps.view(-1, 1), shrinkage)
    return found


def _grams(
    model: nn.Module, layers: Mapping[str, Layer], batches: Sequence[Batch], objective: Objective
) -> Iterator[tuple[str, Gram, Gram]]:
    """Each layer's Gram matrix from either half of the batches; a table's is from all of them."""
    for name, gram in lookup_grams(model, layers, batches, objective).items():
        yield name, gram, gram
    multiplied = {name: layer for name, layer in layers.items() if layer.kind != "embedding"}
    halves = batches[::2], batches[1::2] or batches
    for share, others in zip(*(grams(model, multiplied, half) for half in halves), strict=True):
        for name in share.keys() & others.keys():
            yield name, share[name], others[name]


def _errors(losses: Tensor, gram: Gram, *, alike: bool) -> Tensor:
    """What a squared error in a row's output costs, [n_conv_groups, n_rows].

    Args:
        losses: by the Fisher information of two halves of the data, [2, n_rows].
        gram: of the inputs.
        alike: use the mean for all rows; otherwise only as far as single rows are unreliable.
    """
    energy = gram.diagonal.sum(1)
    energy = energy.clamp_min(float(energy.mean()) * _LEAST_INPUT)
    both = 0.5 * losses.view(2, len(energy), -1) / energy[:, None]
    errors, mean = both.mean(0), both.mean()
    known = 0.0 if alike else _reliability(*both.flatten(1))
    return (mean + known * (errors - mean)).clamp_min(mean * _LEAST_WORTH)


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
        left = missed.clamp_min(max(least, _TINY)).log().mean(1).exp()
        if left.log().mean() < best[0].log().mean():
            best = left, shrinkage
    return best
