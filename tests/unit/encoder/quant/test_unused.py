"""In a model with several kinds of input, only what one of them needs is considered."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoder.quant.layers import find_layers
from encoder.quant.unused import set_unused_aside


class Two(nn.Module):
    """Two halves, a head that one of them goes through, and one whose result is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.read = nn.Sequential(nn.Embedding(9, 8), nn.MultiheadAttention(8, 2))
        self.head = nn.Linear(8, 4)
        self.pooler = nn.Linear(8, 8)
        self.head.weight.requires_grad_(False)

    def forward(self, pixels: Tensor | None = None, ids: Tensor | None = None) -> Tensor:
        if pixels is not None:
            states = self.seen[0](pixels)
            self.pooler(states)
            found: Tensor = self.head(states)
            return found
        assert ids is not None
        tokens = self.read[0](ids)
        mixed: Tensor = self.read[1](tokens, tokens, tokens)[0]
        return mixed


def test_what_an_output_does_not_need_is_set_aside() -> None:
    torch.manual_seed(0)
    model, pixels = Two().eval(), torch.randn(3, 8)
    before = model(pixels)

    assert set_unused_aside(model, {"pixels": pixels}) == ["read", "pooler"]

    # a list keeps its indices
    assert list(find_layers(model)) == ["seen.0", "seen.1", "head"]
    assert not any(name.startswith("read") for name in model.state_dict())
    assert not model.head.weight.requires_grad
    torch.testing.assert_close(model(pixels), before)
    assert model(ids=torch.tensor([[1, 2]])).shape == (1, 2, 8)


def test_weights_that_only_functions_see_are_needed() -> None:
    model = Two().eval()
    assert set_unused_aside(model, {"ids": torch.tensor([[1, 2]])}) == ["seen", "head", "pooler"]
    assert list(find_layers(model)) == ["read.0", "read.1", "read.1.out_proj"]
