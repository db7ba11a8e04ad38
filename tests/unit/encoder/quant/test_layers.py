"""Finding a model's layers and swapping their weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from transformers.pytorch_utils import Conv1D

from encoder.errors import InputError
from encoder.quant.export_onnx import float_twin
from encoder.quant.layers import Layer, find_layers, unsupported
from encoder.quant.quantized import QuantizationFacts, QuantizedModel, load_quantized
from encoder.quant.rounding import hqq
from encoder.quant.schemes import INT4, INT8, Scheme
from encoder.quant.stored import stored_layers, swap
from encoder.quant.uses import plain
from encoder.quant.weights import PackedWeight


def stored(layer: Layer, scheme: Scheme) -> PackedWeight:
    return PackedWeight.of_codes(hqq(layer.rows(), scheme), scheme)


MODULES: dict[str, tuple[nn.Module, Tensor, tuple[int, int, int]]] = {
    "linear": (nn.Linear(5, 3), torch.ones(2, 5), (3, 5, 1)),
    "conv1d": (nn.Conv1d(4, 6, 3, groups=2), torch.ones(1, 4, 8), (6, 6, 2)),
    "conv2d": (nn.Conv2d(3, 4, (3, 5)), torch.ones(1, 3, 8, 8), (4, 45, 1)),
    "conv3d": (nn.Conv3d(2, 3, 2), torch.ones(1, 2, 4, 4, 4), (3, 16, 1)),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6), torch.ones(1, 6, 8, 8), (6, 9, 6)),
    "embedding": (nn.Embedding(7, 5), torch.tensor([[0, 6], [3, 3]]), (7, 5, 1)),
    "bag": (nn.EmbeddingBag(7, 5), torch.tensor([[0, 6], [3, 3]]), (7, 5, 1)),
    "transposed": (nn.ConvTranspose2d(4, 6, (2, 3), groups=2), torch.ones(1, 4, 5, 5), (6, 12, 1)),
    "gpt2": (Conv1D(3, 5), torch.ones(2, 5), (3, 5, 1)),
}


@pytest.mark.parametrize("name", MODULES)
def test_each_kind_runs_on_packed_weights(name: str) -> None:
    module, inputs, sizes = MODULES[name]
    module = copy.deepcopy(module)
    with torch.no_grad():
        wanted = module(inputs)
        ((found, layer),) = find_layers(module, inputs).items()
        assert (layer.n_rows, layer.n_columns, layer.n_conv_groups) == sizes
        weight = stored(layer, INT8)
        assert weight.nbytes == layer.nbytes(INT8)
        swap(module, layer, weight)
        torch.testing.assert_close(module(inputs), wanted, atol=0.03, rtol=0.03)
    assert found == ""
    assert [stored.scheme for _, stored in stored_layers(module)] == [INT8]
    assert list(dict(module.named_parameters())) in ([], ["bias"])


SEVERAL: dict[str, tuple[nn.Module, tuple[Tensor, ...], int]] = {
    "lstm": (nn.LSTM(4, 5, 2, bidirectional=True), (torch.ones(2, 3, 4),), 8),
    "gru": (nn.GRU(4, 5), (torch.ones(2, 3, 4),), 2),
    "cell": (nn.LSTMCell(4, 5), (torch.ones(2, 4),), 2),
    "bilinear": (nn.Bilinear(4, 3, 5), (torch.ones(2, 4), torch.ones(2, 3)), 1),
    "joint attention": (nn.MultiheadAttention(8, 2), (torch.randn(2, 3, 8),) * 3, 2),
    "attention": (
        nn.MultiheadAttention(8, 2, kdim=4, vdim=6),
        (torch.ones(2, 1, 8), torch.ones(3, 1, 4), torch.ones(3, 1, 6)),
        4,
    ),
}


def first(output: Any) -> Tensor:
    return first(output[0]) if isinstance(output, tuple) else output


@pytest.mark.parametrize("name", SEVERAL)
def test_modules_with_several_weights_run_on_packed_ones(name: str, tmp_path: Path) -> None:
    original, inputs, n_layers = SEVERAL[name]
    module = copy.deepcopy(original)
    layers = find_layers(module, inputs)
    assert len(layers) == n_layers
    assert unsupported(module, layers) == []
    with torch.no_grad():
        for layer in layers.values():
            swap(module, layer, stored(layer, INT8))
        assert dict(stored_layers(module)).keys() == layers.keys()
        wanted, got = first(original(*inputs)), first(module(*inputs))
        torch.testing.assert_close(got, wanted, atol=0.03, rtol=0.03)
        assert torch.equal(first(copy.deepcopy(module)(*inputs)), got)
        assert torch.equal(first(float_twin(module)(*inputs)), got)
        QuantizedModel(module, QuantizationFacts(1)).save(tmp_path)
        again = load_quantized(tmp_path, copy.deepcopy(original))
        assert torch.equal(first(again(*inputs)), got)


def test_a_table_that_another_module_uses_by_itself_stays_tied() -> None:
    class Head(nn.Module):
        def __init__(self, table: nn.Parameter) -> None:
            super().__init__()
            self.table = table

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.table.T

    tokens = nn.Embedding(9, 4)
    model = nn.Sequential(tokens, Head(tokens.weight))
    (layer,) = find_layers(model).values()
    swap(model, layer, stored(layer, INT4))
    assert list(model.parameters()) == []
    assert model(torch.tensor([3])).shape == (1, 9)
    assert len({one.packed.data_ptr() for _, one in stored_layers(model)}) == 1


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
    assert [name for name, _ in layer.owners] == ["a", "b"]


def test_what_no_layer_owns_is_listed() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    model.register_parameter("positions", nn.Parameter(torch.zeros(3, 4)))
    model.forward = lambda x: model[1](model[0](x) + model.positions[0])
    assert unsupported(model, find_layers(model, torch.ones(2, 4))) == ["positions"]


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "norm",
    [
        parametrizations.weight_norm, parametrizations.spectral_norm,
        nn.utils.weight_norm, nn.utils.spectral_norm,
    ],
)  # fmt: skip
def test_weights_that_a_norm_computes_become_plain(norm: Any) -> None:
    model, x = nn.Sequential(norm(nn.Linear(4, 4)), nn.Linear(4, 4)).eval(), torch.ones(2, 4)
    wanted = model(x)
    assert list(find_layers(plain(model), x)) == ["0", "1"]
    torch.testing.assert_close(model(x), wanted)


class Uses(nn.Module):
    """A weight that one expression uses."""

    def __init__(self, shape: tuple[int, ...], use: Any) -> None:
        super().__init__()
        self.table, self.use = nn.Parameter(torch.randn(shape)), use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.table, x)


SIX, PAIRS = torch.ones(2, 6), torch.ones(4, 2, 6)
USES: dict[str, tuple[Uses, Tensor, tuple[int, ...] | None]] = {
    "functional": (Uses((5, 6), lambda w, x: functional.linear(x, w)), SIX, (0,)),
    "scaled": (Uses((5, 6), lambda w, x: functional.linear(x, w / 2)), SIX, (0,)),
    "right": (Uses((6, 5), lambda w, x: x @ w), SIX, (1,)),
    "transposed": (Uses((5, 6), lambda w, x: x @ w.T), SIX, (0,)),
    "left": (Uses((5, 6), lambda w, x: w @ x.T), SIX, (0,)),
    "one of several": (Uses((3, 5, 6), lambda w, x: functional.linear(x, w[1])), SIX, (0, 1)),
    "chosen": (Uses((3, 6, 5), lambda w, x: x @ w[torch.tensor([2, 0])]), SIX, (0, 2)),
    "batched": (Uses((4, 6, 5), lambda w, x: torch.bmm(x, w)), PAIRS, (0, 2)),
    "einsum": (Uses((3, 6, 5), lambda w, x: torch.einsum("nd,edf->nef", x, w)), SIX, (0, 2)),
    "two axes summed": (Uses((2, 3, 5), lambda w, x: x @ w.flatten(0, 1)), SIX, (2,)),
    "convolved": (Uses((5, 6, 1), lambda w, x: functional.conv1d(x, w)), PAIRS.mT, (0,)),
    "added": (Uses((2, 6), lambda w, x: x + w), SIX, None),
}


@pytest.mark.parametrize("name", USES)
def test_rows_follow_from_the_use(name: str) -> None:
    model, x, axes = USES[name]
    layers = find_layers(model, x)
    assert [layer.layout.axes for layer in layers.values()] == ([axes] if axes else [])
    for layer in layers.values():
        rows = layer.rows()
        assert torch.equal(layer.layout.weight(rows), layer.weight)
        swap(model, layer, PackedWeight.of_floats(rows, Scheme(32)))
        assert torch.equal(model(x), USES[name][0].use(layer.layout.weight(rows), x))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_must_be_finite(value: float) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with torch.no_grad():
        model[0].weight[1, 2] = value
    with pytest.raises(InputError, match=r"model\.0\.weight: got 1 of 16 values"):
        find_layers(model)
