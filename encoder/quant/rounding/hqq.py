"""Half-quadratic quantization (Badri & Shaji, 2023): no data needed.

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.rounding.base import check, in_groups, to_codes
from encoder.quant.rounding.gram import Gram
from encoder.quant.rounding.rtn import mse_scales
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, float16_scales

_NORM = 0.7
_PENALTY, _PENALTY_GROWTH = 10.0, 1.01
_MAX_STEPS = 4
"""Twenty lower the l_p error by another 1 %, but the outputs of MiniLM come no closer."""


def hqq(rows: Tensor, scheme: Scheme, gram: Gram | None = None) -> Rounded:  # noqa: ARG001
    """Round with scales of least l_p error, p = 0.7, which tolerates a few large misses.

    The error W − s·q is split into a part E, which an l_p prox shrinks out of it, and a rest whose
    square the scale minimizes, s = ⟨W − E, q⟩ / ⟨q, q⟩; misses are measured in steps. The paper
    solves for the zero point of an asymmetric grid; here the grid is symmetric, so the same
    half-quadratic step is solved for the scale. It starts from the least-squares scales, and each
    group keeps its best.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme whose group divides the rows.
        gram: not needed.
    """
    check(rows, scheme)
    groups = in_groups(rows, scheme)
    scales = mse_scales(rows, scheme).unsqueeze(2)
    best, least, penalty = scales, torch.full_like(scales, torch.inf), _PENALTY
    for _ in range(_MAX_STEPS):
        codes = to_codes(groups, scales, scheme)
        miss = groups - codes * scales
        error = miss.abs().pow(_NORM).sum(2, keepdim=True)
        wins = error < least
        if not wins.any():
            break
        best, least = torch.where(wins, scales, best), torch.where(wins, error, least)
        target = groups - _shrink(miss / scales, penalty) * scales
        top = (target * codes).sum(2, keepdim=True)
        scales = float16_scales(top / codes.square().sum(2, keepdim=True).clamp_min(1e-12))
        penalty *= _PENALTY_GROWTH
    codes = to_codes(groups, best, scheme).view_as(rows)
    return Rounded(codes.to(torch.int8), best.squeeze(2))


def _shrink(miss: Tensor, penalty: float) -> Tensor:
    """The prox of the l_p norm: sign(x) · max(|x| − |x|^(p−1) / penalty, 0)."""
    size = miss.abs()
    return miss.sign() * (size - size.clamp_min(1e-12).pow(_NORM - 1) / penalty).clamp_min(0)
