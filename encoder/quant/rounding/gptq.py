"""GPTQ (Frantar et al., 2022): round column by column and let later columns make up for it.

Importing this imports torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.quant.rounding.base import Choose, check, nearest
from encoder.quant.rounding.gram import Gram, to_columns, to_rows
from encoder.quant.rounding.hqq import hqq
from encoder.quant.rounding.rtn import mse_scales
from encoder.quant.schemes import Scheme
from encoder.quant.weights import Rounded, spread

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
    check(rows, scheme)
    if gram is None or gram.factor is None:
        return hqq(rows, scheme)
    scales = mse_scales(rows, scheme, gram.importance(rows.shape[0]).sqrt())
    steps = to_columns(spread(scales, rows.shape[1]).expand_as(rows), gram)
    codes = walk(to_columns(rows, gram), steps, gram.factor, nearest(scheme))
    return Rounded(to_rows(codes, gram).to(torch.int8), scales)


def walk(weights: Tensor, steps: Tensor, factor: Tensor, choose: Choose) -> Tensor:
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
            own = factor[:, i, i, None]
            code = choose(weights[:, i] / steps[:, i], steps[:, i] / own)
            codes[:, i] = code
            miss = (weights[:, i] - code * steps[:, i]) / own
            misses[:, i - start] = miss
            row = factor[:, i, i + 1 : end, None]
            weights[:, i + 1 : end].baddbmm_(row, miss.unsqueeze(1), alpha=-1)
        later = factor[:, start:end, end:].transpose(1, 2)
        weights[:, end:].baddbmm_(later, misses[:, : end - start], alpha=-1)
    return codes
