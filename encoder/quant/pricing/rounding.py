"""Rounding that weighs the length of a code against the error that it leaves.

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.packing import sizes_of_rows
from encoder.quant.pricing.worth import Worth
from encoder.quant.rounding.base import Choose
from encoder.quant.rounding.descent import sweep
from encoder.quant.rounding.gptq import walk
from encoder.quant.rounding.gram import Gram, to_columns, to_rows
from encoder.quant.rounding.hqq import hqq
from encoder.quant.schemes import INT3, INT4, INT5, INT6, INT8, Scheme
from encoder.quant.weights import Rounded, float16_scales

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
            weights * (wishes - codes).square() + _at(bits, codes) for codes in (near, shorter)
        ]
        return torch.where(costs[1] < costs[0], shorter, near)

    return choose


def _at(bits: Tensor, codes: Tensor) -> Tensor:
    return bits.gather(2, (codes + _CODES // 2).long().unsqueeze(2)).squeeze(2)
