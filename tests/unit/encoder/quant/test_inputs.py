"""Gram matrices are those of what the weights are really multiplied with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.networks.convolutions import SamePadConv
from encoder.quant.calibration import Objective, divergence
from encoder.quant.fisher import lookup_grams
from encoder.quant.inputs import execution_order, grams
from encoder.quant.layers import find_layers
from tests.unit.encoder.quant.rounded import random

CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3), (2, 4, 9, 7)),
    "padded": (nn.Conv2d(4, 6, 3, padding=(1, 2), stride=2), (2, 4, 9, 7)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2), (2, 4, 9, 7)),
    "same": (nn.Conv2d(4, 6, (3, 5), padding="same"), (2, 4, 9, 7)),
    "reflect": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (2, 4, 9, 7)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (2, 4, 9, 7)),
    "depthwise": (nn.Conv2d(4, 4, 5, groups=4, padding=2), (2, 4, 9, 7)),
    "tensorflow": (SamePadConv(4, 6, 3, stride=2), (2, 4, 9, 7)),
    "1d": (nn.Conv1d(4, 6, 3, stride=2), (2, 4, 9)),
    "3d": (nn.Conv3d(4, 6, 2, groups=2), (2, 4, 5, 4, 3)),
    "unbatched": (nn.Conv2d(4, 6, 3), (4, 9, 7)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patches_of_convolutions(name: str) -> None:
    """For any weight w, wᵀ H w is the mean square of the convolution's output."""
    module, shape = CONVOLUTIONS[name]
    module.bias = None
    (found,) = grams(module, find_layers(module, random(*shape)), [random(*shape)])
    (gram,) = found.values()

    output = module(random(*shape)).detach()
    axis = 0 if name == "unbatched" else 1
    wanted = output.movedim(axis, 0).flatten(1).square().mean(1)
    rows = module.weight.detach().flatten(1).view(gram.values.shape[0], -1, gram.values.shape[1])
    squares = ((rows @ gram.values) * rows).sum(2).flatten()
    torch.testing.assert_close(squares, wanted)


def test_a_linear_layer_over_all_batches() -> None:
    model = nn.Linear(5, 2)
    batches = [random(3, 4, 5), random(2, 4, 5, seed=1)]
    (found,) = grams(model, find_layers(model), batches)
    x = torch.cat([batch.flatten(0, 1) for batch in batches])
    torch.testing.assert_close(found[""].values[0], x.T @ x / 20)


class Attention(nn.Module):
    """Three projections of one tensor, one of another, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)
        self.value, self.key, self.query = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.query(x) * self.key(x) + functional.linear(x, self.value.weight)
        out: Tensor = self.out(mixed)
        return out


def test_layers_with_one_input_share_a_gram() -> None:
    model = Attention()
    layers = find_layers(model)
    assert execution_order(model, layers, random(2, 4)) == ["query", "key", "value", "out"]
    (found,) = grams(model, layers, [random(2, 4), random(3, 4)])
    assert found["query"] is found["key"] is found["value"]
    assert found["out"] is not found["query"]
    assert "idle" not in found


def test_bounded_memory_gives_the_same_in_more_passes() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Linear(5, 3))
    batches = [random(7, 6), random(7, 6, seed=1)]
    (together,) = grams(model, find_layers(model), batches)
    shares = list(grams(model, find_layers(model), batches, max_bytes=4 * 8 * 8))
    assert [list(share) for share in shares] == [["0"], ["2"], ["3"]]
    for share in shares:
        for name, gram in share.items():
            torch.testing.assert_close(gram.values, together[name].values)


def test_large_pictures_give_some_of_their_patches() -> None:
    model = nn.Conv2d(3, 4, 1)
    (found,) = grams(model, find_layers(model), [random(2, 3, 200, 200)])
    torch.testing.assert_close(found[""].values[0], torch.eye(3), atol=0.2, rtol=0)


N_DRAWS = 400


@pytest.mark.parametrize("objective", ["kl", "cosine"])
def test_a_table_has_the_curvature_of_the_output_at_its_rows(objective: Objective) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 5), nn.Linear(5, 4)).eval()
    rows, head = model[0].weight.detach(), model[1]
    layers = find_layers(model, torch.arange(6))
    grams = lookup_grams(model, layers, [torch.arange(6)] * N_DRAWS, objective)
    assert set(grams) == {"0"}
    (curvature,) = grams["0"].values / (2 * N_DRAWS * 6)  # draws of each batch, batches, rows
    for change in 0.01 * torch.randn(4, 5):
        with torch.no_grad():
            before, after = head(rows).double(), head(rows + change).double()
        foretold = 0.5 * float(change @ curvature @ change)
        assert foretold == pytest.approx(divergence(objective, before, after).item(), rel=0.2)


def test_a_table_behind_a_forward_without_gradients_has_none() -> None:
    model = nn.Sequential(nn.Embedding(6, 5), nn.Linear(5, 4)).eval()
    plain = model.forward
    model.forward = torch.no_grad()(plain)
    layers = find_layers(model, torch.arange(6))
    assert lookup_grams(model, layers, [torch.arange(6)], "kl") == {}
