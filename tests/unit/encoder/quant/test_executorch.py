"""What is written for ExecuTorch, and run by it where it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import MissingExtraError, ModelError
from encoder.quant.allocation.targets import Target
from encoder.quant.export import executorch
from encoder.quant.quantizer import Quantizer
from encoder.quant.stored import stored_in_modules
from encoder.system import extras

IDS = torch.arange(48).view(2, 24)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 128)
        self.places = nn.Embedding(32, 128)
        self.wide = nn.Linear(128, 256)
        self.narrow = nn.Linear(256, 128)
        self.local = nn.Conv1d(128, 128, 1)

    def forward(self, input_ids: Tensor) -> Tensor:
        # rows of a table's weight, as MiniLM takes its positions
        tokens = self.table(input_ids) + self.places.weight[: input_ids.shape[1]]
        mixed = tokens + self.narrow(functional.gelu(self.wide(tokens)))
        read: Tensor = self.local(mixed.transpose(1, 2))
        return read


def quantized(target: Target | None = "executorch", **schemes: str) -> nn.Module:
    torch.manual_seed(0)
    quantizer = Quantizer(Reader(), objective="cosine", rounding="rtn", progress=False)
    return quantizer.apply(schemes, target=target).module


def test_nibbles_hold_what_codes_say() -> None:
    codes = torch.randint(-8, 8, (5, 6), dtype=torch.int8)
    packed = executorch.nibbles(codes)
    assert packed.shape == (5, 3)
    high, low = (packed >> 4).to(torch.int8) - 8, (packed & 15).to(torch.int8) - 8
    assert torch.equal(torch.stack([high, low], 2).flatten(1), codes)


@pytest.mark.parametrize("scheme", ["int8", "int4g32", "int3"])
def test_a_table_has_its_weight_for_models_that_take_rows_themselves(scheme: str) -> None:
    (layer,) = (layer for _, layer in stored_in_modules(quantized(None, table=scheme)))
    lookup = executorch.Lookup.of(layer)
    torch.testing.assert_close(lookup.weight, layer.dequantize())


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda name: name != "executorch")
    with pytest.raises(MissingExtraError, match="needs executorch, which is not installed"):
        executorch.export_executorch(quantized(wide="int8"), {"input_ids": IDS}, tmp_path / "m.pte")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of ExecuTorch's own imports
@pytest.mark.parametrize("table", ["int8", "int4g32"])
def test_codes_are_run_as_they_are(tmp_path: Path, table: str) -> None:
    pytest.importorskip("executorch")
    model = quantized(table=table, places=table, wide="int8", narrow="int4g64")
    path = tmp_path / "model.pte"
    made = executorch.export_executorch(model, {"input_ids": IDS}, path, max_tokens=32)
    assert made.cosine > 0.9999
    assert made.notes == ()
    in_floats = sum(4 * parameter.numel() for parameter in Reader().parameters())
    local = 4 * 128 * 129
    assert made.nbytes < local + 0.5 * (in_floats - local)
    other = IDS[:1, :7].repeat(2, 1)
    (found,) = executorch._run(path, {"input_ids": other})
    with torch.no_grad():
        assert executorch._cosine(model(other), found) > 0.9999


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of ExecuTorch's own imports
def test_an_export_that_is_too_far_off_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    model = quantized(wide="int8")
    with pytest.raises(ModelError, match="cosine of"):
        executorch.export_executorch(
            model, {"input_ids": IDS}, tmp_path / "m.pte", max_tokens=32, least_cosine=1.1
        )
