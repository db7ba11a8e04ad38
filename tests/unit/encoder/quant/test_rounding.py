"""Rounding methods against plain references, and what they do in corner cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from encoder.quant.inputs import Gram
from encoder.quant.rounding import absmax_scales, descend, gptq, hqq, mse_scales
from encoder.quant.schemes import INT3, INT4, INT5, INT6, INT8, Scheme
from encoder.quant.weights import Rounded
from tests.unit.encoder.quant.rounded import random

SCHEMES = [INT3, INT4, INT5, INT6, INT8, Scheme(4, 32)]


def inputs(n: int, n_columns: int, seed: int = 1) -> Tensor:
    """Correlated ones, as real layers have."""
    mixing = torch.eye(n_columns) + 0.3 * random(n_columns, n_columns, seed=seed + 1)
    return random(n, n_columns, seed=seed) @ mixing


def gram_of(x: Tensor) -> Gram:
    return Gram((x.T @ x / len(x))[None])


def to_nearest(rows: Tensor, scheme: Scheme, scales_of: Callable[..., Tensor]) -> Rounded:
    scales = scales_of(rows, scheme)
    groups = rows.reshape(len(rows), scales.shape[1], -1) / scales[:, :, None]
    codes = groups.round().clamp(-scheme.largest_code - 1, scheme.largest_code)
    return Rounded(codes.view_as(rows).to(torch.int8), scales)


def output_error(rows: Tensor, rounded: Rounded, gram: Gram) -> float:
    miss = rounded.dequantize() - rows
    return float(((miss @ gram.stable[0]) * miss).sum())


def textbook_gptq(rows: Tensor, scales: Tensor, gram: Gram, scheme: Scheme) -> Tensor:
    """Frantar et al.'s algorithm 1 as it is printed, one row and one column at a time."""
    order = gram.order[0]
    hessian = gram.stable[0][order][:, order].double()
    upper = torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)
    group = rows.shape[1] // scales.shape[1]
    codes = torch.zeros_like(rows, dtype=torch.int8)
    for row in range(len(rows)):
        left = rows[row][order].double()
        for i, column in enumerate(order.tolist()):
            scale = scales[row, column // group].double()
            code = (left[i] / scale).round().clamp(-scheme.largest_code - 1, scheme.largest_code)
            codes[row, column] = code.to(torch.int8)
            miss = (left[i] - code * scale) / upper[i, i]
            left[i:] -= miss * upper[i, i:]
    return codes


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_gptq_is_the_textbooks(scheme: Scheme) -> None:
    rows, gram = random(5, 160), gram_of(inputs(400, 160))
    rounded = gptq(rows, scheme, gram)
    wanted = textbook_gptq(rows, rounded.scales, gram, scheme)
    # float32 against float64: a value in the middle of two codes may go either way
    assert float((rounded.codes != wanted).float().mean()) < 0.01
    reference = output_error(rows, Rounded(wanted, rounded.scales), gram)
    assert output_error(rows, rounded, gram) == pytest.approx(reference, rel=0.02)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_gptq_beats_rounding_to_nearest_and_descent_beats_gptq(scheme: Scheme) -> None:
    rows, gram = random(8, 64), gram_of(inputs(300, 64))
    nearest, scaled = to_nearest(rows, scheme, absmax_scales), hqq(rows, scheme)
    greedy = gptq(rows, scheme, gram)
    descended = descend(rows, greedy, scheme, gram)
    errors = [output_error(rows, each, gram) for each in (nearest, scaled, greedy, descended)]
    assert errors[3] < errors[2] < 0.9 * min(errors[:2])


def test_groups_of_a_convolution_are_rounded_each_by_its_own_inputs() -> None:
    rows = random(6, 9)
    parts = [gram_of(inputs(50, 9, seed)).values for seed in range(3)]
    together = gptq(rows, INT4, Gram(torch.cat(parts)))
    for group, values in enumerate(parts):
        alone = gptq(rows[2 * group : 2 * group + 2], INT4, Gram(values))
        assert torch.equal(together.codes[2 * group : 2 * group + 2], alone.codes)


def test_columns_that_were_never_used_are_rounded_to_nearest() -> None:
    x = inputs(200, 16)
    x[:, [3, 7]] = 0
    rows, gram = random(4, 16), gram_of(x)
    rounded = gptq(rows, INT4, gram)
    nearest = (rows / rounded.scales).round().clamp(-8, 7).to(torch.int8)
    assert torch.equal(rounded.codes[:, [3, 7]], nearest[:, [3, 7]])


def test_fewer_inputs_than_columns_still_factorize() -> None:
    gram = gram_of(inputs(3, 64))
    identity = gram.factor[0].T @ gram.factor[0] @ gram.sorted[0]
    torch.testing.assert_close(identity, torch.eye(64), atol=1e-3, rtol=0)


@pytest.mark.parametrize("values", [torch.zeros(1, 8, 8), torch.full((1, 8, 8), torch.nan)])
def test_a_useless_gram_does_no_harm(values: Tensor) -> None:
    rounded = gptq(random(4, 8), INT4, Gram(values))
    torch.testing.assert_close(rounded.dequantize(), random(4, 8), atol=0.3, rtol=0)


def test_hqq_lowers_what_it_minimizes() -> None:
    rows = random(16, 128).sinh()  # a few large values
    absmax, mse = (to_nearest(rows, INT4, scales) for scales in (absmax_scales, mse_scales))
    missed = [(r.dequantize() - rows).abs() for r in (absmax, mse, hqq(rows, INT4))]
    assert missed[2].pow(0.7).sum() < missed[1].pow(0.7).sum()
    assert missed[1].square().sum() < missed[0].square().sum()


@pytest.mark.parametrize("has_data", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: s.name)
def test_codes_and_scales_are_storable(has_data: bool, scheme: Scheme) -> None:
    rows = random(3, 64) * torch.tensor([[1.0], [0.0], [1e-9]])
    rounded = gptq(rows, scheme, gram_of(inputs(99, 64)) if has_data else None)
    assert rounded.codes.dtype == torch.int8
    assert int(rounded.codes.abs().max()) <= scheme.largest_code + 1
    assert torch.equal(rounded.scales.half().float(), rounded.scales)
    assert bool((rounded.scales > 0).all())
    assert not rounded.dequantize()[1].any()
