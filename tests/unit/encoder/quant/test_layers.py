"""Finding a model's layers and swapping their weights."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from encoder.errors import InputError
from encoder.quant.layers import Layer, find_layers, quantized_modules, swap, unsupported
from encoder.quant.rounding import round_rows
from encoder.quant.schemes import FP32, INT4, INT8, Scheme
from encoder.quant.weights import PackedWeight


def stored(layer: Layer, scheme: Scheme) -> PackedWeight:
    return PackedWeight.of_codes(round_rows(layer.rows(), scheme), scheme)


MODULES: dict[str, tuple[nn.Module, Tensor, tuple[int, int, int]]] = {
    "linear": (nn.Linear(5, 3), torch.ones(2, 5), (3, 5, 1)),
    "conv1d": (nn.Conv1d(4, 6, 3, groups=2), torch.ones(1, 4, 8), (6, 6, 2)),
    "conv2d": (nn.Conv2d(3, 4, (3, 5)), torch.ones(1, 3, 8, 8), (4, 45, 1)),
    "conv3d": (nn.Conv3d(2, 3, 2), torch.ones(1, 2, 4, 4, 4), (3, 16, 1)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), torch.ones(1, 6, 8, 8), (6, 9, 6)),
    "embedding": (nn.Embedding(7, 5), torch.tensor([[0, 6], [3, 3]]), (7, 5, 1)),
}


@pytest.mark.parametrize("name", MODULES)
def test_each_kind_runs_on_packed_weights(name: str) -> None:
    module, inputs, sizes = MODULES[name]
    module = copy.deepcopy(module)
    with torch.no_grad():
        wanted = module(inputs)
        ((found, layer),) = find_layers(module).items()
        assert (layer.n_rows, layer.n_columns, layer.n_conv_groups) == sizes
        weight = stored(layer, INT8)
        assert weight.nbytes == layer.nbytes(INT8)
        swap(module, layer, weight)
        torch.testing.assert_close(module(inputs), wanted, atol=0.03, rtol=0.03)
    ((_, quantized),) = quantized_modules(module)
    assert found == ""
    assert list(dict(module.named_parameters())) in ([], ["bias"])
    assert quantized.nbytes == weight.nbytes + 4 * (sizes[0] if name != "embedding" else 0)
    assert 8 < quantized.average_bits < 32


def test_attention_runs_on_packed_weights() -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), torch.randn(2, 3, 8)
    with torch.no_grad():
        wanted = attention(x, x, x)[0]
        layers = find_layers(attention)
        assert sorted(layer.parameter for layer in layers.values()) == ["in_proj_weight", "weight"]
        for layer in layers.values():
            swap(attention, layer, stored(layer, INT8))
        torch.testing.assert_close(attention(x, x, x)[0], wanted, atol=0.02, rtol=0)


def test_an_embedding_looks_up_rows_of_ids_of_any_shape() -> None:
    table = nn.Embedding(9, 4)
    (layer,) = find_layers(table).values()
    weight = stored(layer, INT4)
    swap(table, layer, weight)
    assert torch.equal(table(torch.tensor(3)), weight.dequantize()[3])
    assert table(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, 4)


def test_a_subclass_with_a_forward_of_its_own_keeps_it() -> None:
    class Doubled(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    table = Doubled(9, 4)
    (layer,) = find_layers(table).values()
    weight = stored(layer, INT4)
    swap(table, layer, weight)
    assert torch.equal(table(torch.tensor([3])), 2 * weight.dequantize()[[3]])


def test_tied_layers_are_one() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    model["b"].weight = model["a"].weight
    (layer,) = find_layers(model).values()
    assert (layer.name, layer.aliases) == ("a", ("b",))


def test_what_no_layer_owns_is_listed() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 4), nn.LayerNorm(4))
    assert unsupported(model) == ["1.weight_ih_l0", "1.weight_hh_l0"]


def test_a_computed_weight_is_left_alone() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 4))
    assert list(find_layers(model)) == ["1"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_must_be_finite(value: float) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight[1, 2] = value
    with pytest.raises(InputError, match=r"model\.0\.weight: got 1 of 16 values"):
        find_layers(model)


def test_fp32_bytes_are_the_weights() -> None:
    (layer,) = find_layers(nn.Conv2d(3, 4, 3)).values()
    assert layer.nbytes(FP32) == layer.weight.nbytes
