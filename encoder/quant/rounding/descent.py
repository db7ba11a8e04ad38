"""Coordinate descent on the codes of a greedy pass (as in QuantEase, Behdin et al., 2023).

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.rounding.base import Choose, nearest
from encoder.quant.rounding.gram import Gram, to_columns, to_rows
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, float16_scales, spread

_BLOCK = 64
_SWEEPS = 2


def descend(rows: Tensor, rounded: Rounded, scheme: Scheme, gram: Gram) -> Rounded:
    """Lower the error of the layer's output; only float16's rounding can make it rise.

    Each sweep sets one column after the other to the best code, given all others. Where a row
    has a single scale, the scale is then set to the best for its codes.

    Args:
        rows: float32 [n_rows, n_columns].
        rounded: of the rows, in ``scheme``.
        scheme: an integer scheme.
        gram: of the layer's inputs.
    """
    for _ in range(_SWEEPS):
        rounded = sweep(rows, rounded, gram, nearest(scheme))
        if rounded.scales.shape[1] == 1:
            rounded = _rescale(rows, rounded, gram)
    return rounded


def sweep(rows: Tensor, rounded: Rounded, gram: Gram, choose: Choose) -> Rounded:
    """Set one column after the other to the code that is chosen, given all others."""
    steps = to_columns(spread(rounded.scales, rows.shape[1]).expand_as(rows), gram)
    codes = to_columns(rounded.codes.float(), gram)
    matrix = gram.sorted
    pull = matrix @ (to_columns(rows, gram) - codes * steps)
    for start in range(0, codes.shape[1], _BLOCK):
        end = min(start + _BLOCK, codes.shape[1])
        before = codes[:, start:end].clone()
        for i in range(start, end):
            own = matrix[:, i, i, None]
            wish = codes[:, i] + pull[:, i] / (own * steps[:, i])
            code = choose(wish, steps[:, i] * own.sqrt())
            moved = ((code - codes[:, i]) * steps[:, i]).unsqueeze(1)
            pull[:, i:end].baddbmm_(matrix[:, i:end, i, None], moved, alpha=-1)
            codes[:, i] = code
        moved = (codes[:, start:end] - before) * steps[:, start:end]
        pull[:, end:].baddbmm_(matrix[:, end:, start:end], moved, alpha=-1)
    return Rounded(to_rows(codes, gram).to(torch.int8), rounded.scales)


def _rescale(rows: Tensor, rounded: Rounded, gram: Gram) -> Rounded:
    """The scale of each row that fits its codes best: ⟨q, H w⟩ / ⟨q, H q⟩."""
    n_groups, n_columns = gram.order.shape
    codes = rounded.codes.float().view(n_groups, -1, n_columns)
    pulled = codes @ gram.stable
    top = (pulled * rows.view_as(codes)).sum(2).view(-1, 1)
    scales = top / (pulled * codes).sum(2).view(-1, 1)
    usable = torch.isfinite(scales) & (scales > 0)
    return Rounded(rounded.codes, float16_scales(torch.where(usable, scales, rounded.scales)))
