"""Well-known architectures with random weights: every layer is found, stored, and runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from encoder.quant.calibration import run
from encoder.quant.fit import quantize
from encoder.quant.layers import find_layers, unsupported
from encoder.quant.quantized import model_nbytes
from encoder.quant.schemes import INT8
from encoder.quant.stored import stored_layers
from encoder.quant.synthetic import synthetic
from tests.unit.encoder.quant.zoo import ZOO


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).min())


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.slow
def test_any_architecture_is_fitted_in_int8_on_inputs_made_from_it(name: str) -> None:
    make, n_layers, left = ZOO[name]
    torch.manual_seed(0)
    model = make().eval()
    layers = find_layers(model)
    assert len(layers) == n_layers
    assert sorted({each.rpartition(".")[2] for each in unsupported(model)}) == left
    data = synthetic(model, n_steps=0)
    assert data

    fitted = quantize(model, dict.fromkeys(layers, INT8), data.fit).module

    stored = {layer.packed.data_ptr(): layer for _, layer in stored_layers(fitted)}
    assert len(stored) == len(layers)  # what is tied stays tied
    packed = sum(layer.packed_weight.nbytes for layer in stored.values())
    assert packed == sum(layer.nbytes(INT8) for layer in layers.values())
    assert model_nbytes(fitted) < model_nbytes(model)
    before, after = run(model, data.score[0]), run(fitted, data.score[0])
    assert cosine(before, after) > 0.99
