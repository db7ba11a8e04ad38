"""Codes in bytes: what is packed comes back, in ONNX's layout, in as many bytes as promised."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from encoder.quant.rounding import absmax_scales, hqq, to_codes
from encoder.quant.schemes import FP16, FP32, Scheme
from encoder.quant.weights import PackedWeight, pack, unpack

WIDTHS = st.sampled_from([3, 4, 5, 6, 8])
SIZES = st.integers(1, 40)
SEEDS = st.integers(0, 2**31)


def codes(bits: int, n_rows: int, n_columns: int, seed: int) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    half = 2 ** (bits - 1)
    return torch.randint(-half, half, (n_rows, n_columns), generator=made, dtype=torch.int8)


def weights(n_rows: int, n_columns: int, seed: int, size: float = 1.0) -> Tensor:
    return torch.randn(n_rows, n_columns, generator=torch.Generator().manual_seed(seed)) * size


@given(WIDTHS, SIZES, SIZES, SEEDS)
def test_codes_come_back(bits: int, n_rows: int, n_columns: int, seed: int) -> None:
    given_codes = codes(bits, n_rows, n_columns, seed)
    packed = pack(given_codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (n_rows, Scheme(bits).row_bytes(n_columns))
    assert torch.equal(unpack(packed, bits, n_columns), given_codes)


@given(SIZES, SIZES, SEEDS)
def test_a_row_is_packed_as_onnx_packs_int4(n_rows: int, n_columns: int, seed: int) -> None:
    given_codes = codes(4, n_rows, n_columns, seed)
    for row, packed in zip(given_codes, pack(given_codes, 4), strict=True):
        tensor = onnx.helper.make_tensor(
            "row", onnx.TensorProto.INT4, [n_columns], row.numpy().astype(np.float32)
        )
        assert tensor.raw_data or list(tensor.int32_data)
        assert packed.tolist() == [value & 255 for value in tensor.int32_data]


@given(WIDTHS, st.sampled_from([None, 32, 64]), SIZES, st.integers(1, 3), SEEDS)
def test_a_packed_weight_has_the_bytes_of_its_scheme(
    bits: int, group: int | None, n_rows: int, n_groups: int, seed: int
) -> None:
    scheme = Scheme(bits, group)
    n_columns = n_groups * (group or 13)
    rows = weights(n_rows, n_columns, seed)
    stored = PackedWeight.of_codes(hqq(rows, scheme), scheme)
    assert stored.nbytes == scheme.nbytes(n_rows, n_columns)


@pytest.mark.parametrize("scheme", [FP16, FP32])
def test_floats_have_the_bytes_of_their_scheme(scheme: Scheme) -> None:
    stored = PackedWeight.of_floats(weights(3, 5, 0), scheme)
    assert stored.nbytes == scheme.nbytes(3, 5)
    torch.testing.assert_close(stored.dequantize(), weights(3, 5, 0), rtol=1e-3, atol=1e-3)


@given(WIDTHS, st.sampled_from([None, 32]), SIZES, st.sampled_from([1e-3, 1.0, 300.0]), SEEDS)
def test_rounding_to_nearest_misses_by_half_a_step_at_most(
    bits: int, group: int | None, n_rows: int, size: float, seed: int
) -> None:
    rows = weights(n_rows, 64, seed, size)
    scales = absmax_scales(rows, Scheme(bits, group))
    steps = scales.repeat_interleave(64 // scales.shape[1], 1)
    rounded = to_codes(rows, steps, Scheme(bits, group)) * steps
    assert bool(((rounded - rows).abs() <= 0.5001 * steps).all())


@given(WIDTHS, SEEDS)
def test_rows_can_be_taken_while_packed(bits: int, seed: int) -> None:
    scheme = Scheme(bits)
    stored = PackedWeight.of_codes(hqq(weights(9, 7, seed), scheme), scheme)
    wanted = torch.tensor([8, 0, 0, 3])
    assert torch.equal(stored.take(wanted).dequantize(), stored.dequantize()[wanted])
