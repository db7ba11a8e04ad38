"""Round weights to integer codes: by HQQ without data, by GPTQ and descent with it.

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.inputs import Gram, to_columns, to_rows
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, float16_scales, spread


def in_groups(rows: Tensor, scheme: Scheme) -> Tensor:
    """View rows [n_rows, n_columns] as [n_rows, n_groups, group]: each with one scale."""
    return rows.reshape(rows.shape[0], scheme.n_groups(rows.shape[1]), -1)


def to_codes(values: Tensor, scales: Tensor, scheme: Scheme) -> Tensor:
    """The nearest codes, still float; ``scales`` broadcasts over ``values``."""
    largest = scheme.largest_code
    return (values / scales).round_().clamp_(-largest - 1, largest)


_SHARES = (1.0, 0.92, 0.85, 0.78, 0.71, 0.64, 0.57, 0.5, 0.43, 0.36)
"""Shares of the absmax scale that the search tries."""

_CHUNK_VALUES = 1 << 18
"""Rows are searched in chunks that stay in the processor's cache."""


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


_NORM = 0.7
_PENALTY, _PENALTY_GROWTH = 10.0, 1.01
_MAX_STEPS = 4
"""Twenty lower the l_p error by another 1 %, but the outputs of MiniLM come no closer."""


def hqq(rows: Tensor, scheme: Scheme) -> Rounded:
    """Round with scales of least l_p error, p = 0.7, which tolerates a few large misses.

    The error W − s·q is split into a part E, which an l_p prox shrinks out of it, and a rest whose
    square the scale minimizes, s = ⟨W − E, q⟩ / ⟨q, q⟩; misses are measured in steps. The paper
    solves for the zero point of an asymmetric grid; here the grid is symmetric, so the same
    half-quadratic step is solved for the scale. It starts from the least-squares scales, and each
    group keeps its best.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme whose group divides the rows.
    """
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


_BLOCK = 64


def gptq(rows: Tensor, scheme: Scheme, gram: Gram | None = None) -> Rounded:
    """Round with the least error of the layer's output that one greedy pass finds.

    Columns go by falling mean square of their input (act-order); scales are fixed beforehand,
    group by group (static groups), for the least squared error. A square is weighted by the root
    mean square of its column's input: full weight (the mean square) trusts a few columns too
    much, and equal weight fails where some inputs are huge, as in MiniLM (four layers at INT3:
    .020 against .031; it makes no difference in EfficientNet). A column whose input was always 0
    is rounded to nearest.

    Args:
        rows: float32 [n_rows, n_columns].
        scheme: an integer scheme whose group divides the rows.
        gram: of the layer's inputs. Without it, or where it has no Cholesky factor, the rows are
            rounded by `hqq`.
    """
    if gram is None or gram.factor is None:
        return hqq(rows, scheme)
    scales = mse_scales(rows, scheme, gram.importance(rows.shape[0]).sqrt())
    steps = to_columns(spread(scales, rows.shape[1]).expand_as(rows), gram)
    codes = _walk(to_columns(rows, gram), steps, gram.factor, scheme)
    return Rounded(to_rows(codes, gram).to(torch.int8), scales)


def _walk(weights: Tensor, steps: Tensor, factor: Tensor, scheme: Scheme) -> Tensor:
    """Codes of ``weights`` [n_conv_groups, n_columns, n_rows], which is overwritten.

    Within a block each column corrects the following ones immediately; columns after the block
    are corrected in one product when it is done (the paper's lazy batch updates).
    """
    codes = torch.empty_like(weights)
    misses = torch.empty_like(weights[:, :_BLOCK])
    n_columns = weights.shape[1]
    for start in range(0, n_columns, _BLOCK):
        end = min(start + _BLOCK, n_columns)
        for i in range(start, end):
            pivot = factor[:, i, i, None]
            codes[:, i] = code = to_codes(weights[:, i], steps[:, i], scheme)
            miss = (weights[:, i] - code * steps[:, i]) / pivot
            misses[:, i - start] = miss
            row = factor[:, i, i + 1 : end, None]
            weights[:, i + 1 : end].baddbmm_(row, miss.unsqueeze(1), alpha=-1)
        later = factor[:, start:end, end:].transpose(1, 2)
        weights[:, end:].baddbmm_(later, misses[:, : end - start], alpha=-1)
    return codes


_SWEEPS = 2


def descend(rows: Tensor, rounded: Rounded, scheme: Scheme, gram: Gram) -> Rounded:
    """Lower the error of the layer's output; only float16's rounding can make it rise.

    Each sweep sets one column after the other to the best code, given all others. Where a row
    has a single scale, the scale is then set to the best for its codes.
    """
    for _ in range(_SWEEPS):
        rounded = _sweep(rows, rounded, scheme, gram)
        if rounded.scales.shape[1] == 1:
            rounded = _rescale(rows, rounded, gram)
    return rounded


def _sweep(rows: Tensor, rounded: Rounded, scheme: Scheme, gram: Gram) -> Rounded:
    """Set one column after the other to its nearest code, given all others."""
    steps = to_columns(spread(rounded.scales, rows.shape[1]).expand_as(rows), gram)
    codes = to_columns(rounded.codes.float(), gram)
    matrix = gram.sorted
    pull = matrix @ (to_columns(rows, gram) - codes * steps)
    for start in range(0, codes.shape[1], _BLOCK):
        end = min(start + _BLOCK, codes.shape[1])
        old_codes = codes[:, start:end].clone()
        for i in range(start, end):
            curvature = matrix[:, i, i, None]
            wish = codes[:, i] + pull[:, i] / (curvature * steps[:, i])
            code = to_codes(wish, torch.ones(()), scheme)
            moved = ((code - codes[:, i]) * steps[:, i]).unsqueeze(1)
            pull[:, i:end].baddbmm_(matrix[:, i:end, i, None], moved, alpha=-1)
            codes[:, i] = code
        moved = (codes[:, start:end] - old_codes) * steps[:, start:end]
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
