"""Round to nearest, and the scales that every other method starts from.

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.rounding.base import check, in_groups, to_codes, to_nearest
from encoder.quant.rounding.gram import Gram
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, float16_scales

_SHARES = (1.0, 0.92, 0.85, 0.78, 0.71, 0.64, 0.57, 0.5, 0.43, 0.36)
"""Shares of the absmax scale that the search tries."""

_CHUNK_VALUES = 1 << 18
"""Rows are searched in chunks that stay in the processor's cache."""


def rtn(rows: Tensor, scheme: Scheme, gram: Gram | None = None) -> Rounded:  # noqa: ARG001
    """Round to nearest with absmax scales: no value moves by more than half a step.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme whose group divides the rows.
        gram: not needed.
    """
    check(rows, scheme)
    return to_nearest(rows, absmax_scales(rows, scheme), scheme)


def rtn_mse(rows: Tensor, scheme: Scheme, gram: Gram | None = None) -> Rounded:
    """Round to nearest with the scales of least squared error (clips a few large values)."""
    check(rows, scheme)
    importance = None if gram is None else gram.importance(rows.shape[0])
    return to_nearest(rows, mse_scales(rows, scheme, importance), scheme)


def absmax_scales(rows: Tensor, scheme: Scheme) -> Tensor:
    """The least scales [n_rows, n_groups] that clip nothing.

    A scale rounded to float16 can be a little too small. It is at most 1/2048 off and is then
    stepped up, so half a step still bounds the error.
    """
    groups = in_groups(rows, scheme)
    largest = scheme.largest_code
    exact = torch.maximum(groups.amax(2) / largest, groups.amin(2) / (-largest - 1))
    scales = float16_scales(exact)
    return torch.where(scales < exact, float16_scales(scales * (1 + 2**-10)), scales)


def mse_scales(rows: Tensor, scheme: Scheme, importance: Tensor | None = None) -> Tensor:
    """Scales [n_rows, n_groups] of least (weighted) squared rounding error.

    A coarse search over shares of the absmax scale, then two steps of Lloyd's algorithm: codes
    for the scale, the best scale for the codes.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme.
        importance: weights of the squares, [1 or n_rows, n_columns]; None for equal ones.
    """
    n = max(1, _CHUNK_VALUES // rows.shape[1])
    parts = []
    for start in range(0, rows.shape[0], n):
        weights = importance
        if importance is not None and importance.shape[0] > 1:
            weights = importance[start : start + n]
        parts.append(_search(rows[start : start + n], scheme, weights))
    return torch.cat(parts)


def _search(rows: Tensor, scheme: Scheme, importance: Tensor | None) -> Tensor:
    groups = in_groups(rows, scheme)
    weights = torch.ones(1, 1, 1) if importance is None else in_groups(importance, scheme)
    start = absmax_scales(rows, scheme).unsqueeze(2)
    best, least = start, torch.full_like(start, torch.inf)
    for share in _SHARES:
        best, least = _better(groups, weights, float16_scales(start * share), scheme, best, least)
    for _ in range(2):
        codes = to_codes(groups, best, scheme)
        top = (groups * codes * weights).sum(2, keepdim=True)
        refit = top / (codes.square() * weights).sum(2, keepdim=True).clamp_min(1e-12)
        best, least = _better(groups, weights, float16_scales(refit), scheme, best, least)
    return best.squeeze(2)


def _better(
    groups: Tensor, weights: Tensor, scales: Tensor, scheme: Scheme, best: Tensor, least: Tensor
) -> tuple[Tensor, Tensor]:
    """Keep, group by group, the scales with less error."""
    miss = to_codes(groups, scales, scheme).mul_(scales).sub_(groups).square_().mul_(weights)
    error = miss.sum(2, keepdim=True)
    wins = error < least
    return torch.where(wins, scales, best), torch.where(wins, error, least)
