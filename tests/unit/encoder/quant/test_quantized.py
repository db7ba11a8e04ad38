"""A quantized model on disk and in memory."""

from pathlib import Path

import pytest
import torch
from torch import nn

from encoder.errors import ModelError
from encoder.quant.fit import quantize
from encoder.quant.quantized import (
    FACTS,
    QuantizationFacts,
    QuantizedModel,
    load_quantized,
    model_nbytes,
)
from encoder.quant.schemes import Scheme
from encoder.quant.stored import stored_layers


class TiedClassifier(nn.Module):
    """Tokens in, tokens out, one table for both."""

    def __init__(self, n_tokens: int = 40, dim: int = 36) -> None:
        super().__init__()
        self.table = nn.Embedding(n_tokens, dim)
        self.mix = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, n_tokens, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.mix(self.table(ids))))


IDS = torch.arange(12).view(3, 4)


@pytest.fixture
def original() -> TiedClassifier:
    torch.manual_seed(0)
    return TiedClassifier().eval()


def quantized(model: nn.Module, **schemes: str) -> QuantizedModel:
    module, notes = quantize(model, {name: Scheme.parse(s) for name, s in schemes.items()}, [IDS])
    return QuantizedModel(module, QuantizationFacts(model_nbytes(model), notes=tuple(notes)))


@pytest.mark.parametrize("scheme", ["int8", "int6", "int5", "int4", "int4g32", "int3", "fp16"])
def test_what_is_loaded_equals_what_was_saved(
    original: TiedClassifier, tmp_path: Path, scheme: str
) -> None:
    saved = quantized(original, table=scheme, mix="int8")
    loaded = load_quantized(saved.save(tmp_path / "q"), TiedClassifier)
    assert torch.equal(saved(IDS), loaded(IDS))
    assert loaded.schemes == saved.schemes
    assert loaded.facts == saved.facts
    assert loaded.nbytes == saved.nbytes


def test_tied_weights_are_stored_and_counted_once(original: TiedClassifier, tmp_path: Path) -> None:
    made = quantized(original, table="int4", mix="int4")
    table = 40 * (18 + 2)
    mix = 36 * (18 + 2) + 36 * 4
    assert made.nbytes == table + mix + 2 * 36 * 4
    loaded = load_quantized(made.save(tmp_path), TiedClassifier())
    by_name = dict(stored_layers(loaded.module))
    assert by_name["table"].packed.data_ptr() == by_name["head"].packed.data_ptr()


def test_size_is_reported_in_every_unit(original: TiedClassifier) -> None:
    made = quantized(original, table="int8", mix="int8")
    assert made.compression == pytest.approx(made.facts.fp32_nbytes / made.nbytes)
    assert made.average_bits == pytest.approx(32 / made.compression)
    assert 8 < made.average_bits < 12


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no quantized model.*anymodal models quantize"):
        load_quantized(tmp_path, TiedClassifier)


def test_another_architecture_is_refused(original: TiedClassifier, tmp_path: Path) -> None:
    folder = quantized(original, table="int4", mix="int4").save(tmp_path)
    with pytest.raises(ModelError, match="was not saved from TiedClassifier as it is here"):
        load_quantized(folder, TiedClassifier(n_tokens=41))
    with pytest.raises(ModelError, match="was not saved from Linear"):
        load_quantized(folder, nn.Linear(2, 2))


def test_a_file_of_another_version_is_refused(original: TiedClassifier, tmp_path: Path) -> None:
    facts = quantized(original, table="int4").save(tmp_path) / FACTS
    facts.write_text(facts.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(ModelError, match="another version"):
        load_quantized(tmp_path, TiedClassifier)
