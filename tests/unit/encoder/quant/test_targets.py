"""A model that is quantized for a runtime has nothing that the runtime does not support."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from encoder import Quantizer
from encoder.errors import InputError
from encoder.onnx.tensorrt import check_tensorrt
from encoder.quant.limits import RULES, Target, takes
from encoder.quant.schemes import FP16, INT4, INT5, INT8, Scheme

TARGETS = get_args(Target)


class Mixed(nn.Module):
    """A layer of each kind, small and large."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(40, 48)
        self.past = nn.GRU(48, 64, batch_first=True)
        self.stem = nn.Conv1d(64, 128, 3)
        self.up = nn.ConvTranspose1d(128, 64, 2, groups=2)
        self.narrow, self.wide = nn.Linear(64, 30), nn.Linear(30, 8)
        self.form = nn.Bilinear(8, 8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.past(self.table(ids))[0].transpose(1, 2)
        y = self.wide(self.narrow(self.up(self.stem(x).relu()).mean(2)))
        scores: Tensor = self.form(y, y)
        return scores


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    quantizer = Quantizer(Mixed(), objective="cosine", progress=False)
    quantizer.analyze_sensitivity(schemes=["int3", "int4", "int4g64", "int5", "int8"])
    return quantizer


@pytest.mark.parametrize("target", TARGETS)
def test_only_what_it_takes_is_chosen(target: Target, quantizer: Quantizer) -> None:
    schemes = quantizer.apply(max_loss=1.0, keep={"form": "fp32"}, target=target).schemes
    assert {scheme.bits for scheme in schemes.values()} <= {4, 8, 16}
    assert schemes["narrow"].bits == 4
    if target in ("tensorrt", "openvino"):
        assert schemes["stem"] == INT8
    if target == "tensorrt":
        assert "past.weight_ih_l0" not in schemes or schemes["past.weight_ih_l0"] == FP16
    if target == "tensorrt":
        assert schemes["wide"] in (INT8, FP16)
        assert schemes["up"] == FP16


@pytest.mark.slow
def test_what_is_chosen_for_tensorrt_exports(quantizer: Quantizer, tmp_path: Path) -> None:
    quantizer.apply(max_loss=1.0, target="tensorrt")
    report = quantizer.export_onnx(tmp_path / "mixed.onnx")
    assert check_tensorrt(report.path) == []
    assert not any("stored as" in note for note in report.notes)


def test_a_scheme_that_it_does_not_take_is_refused_with_the_reason(quantizer: Quantizer) -> None:
    with pytest.raises(InputError, match=r"stem: INT4 is for linear layers only"):
        quantizer.apply("int4", target="tensorrt")
    with pytest.raises(InputError, match=r"got 'coreml'.*onnxruntime, tensorrt"):
        quantizer.apply("int8", target="coreml")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "scheme", "kind", "n_columns", "n_groups", "reason"),
    [
        ("onnxruntime", INT5, "linear", 64, 1, "stored as INT8"),
        ("onnxruntime", Scheme(3), "linear", 64, 1, "stored as INT4"),
        ("tensorrt", Scheme(8, 64), "linear", 64, 1, "not groups"),
        ("tensorrt", Scheme(4, 32), "linear", 64, 1, "must be 64 or 128"),
        ("tensorrt", INT8, "transposed", 64, 2, "transposed layers of 2 groups"),
        ("openvino", INT4, "conv", 64, 1, "not conv layers"),
    ],
)
def test_reasons(
    target: str, scheme: Scheme, kind: str, n_columns: int, n_groups: int, reason: str
) -> None:
    found = takes(target, scheme, kind, n_columns, n_groups)
    assert found
    assert reason in found


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_rule_and_takes_int8_of_linear_layers(target: str) -> None:
    assert target in RULES
    assert takes(target, INT8, "linear", 30) is None
    assert takes(target, Scheme(4, 64), "linear", 128) is None
