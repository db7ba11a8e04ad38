"""Inputs that are made from a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoder.quant.synthetic import synthetic


class Features(nn.Module):
    """Takes a dict and adds to it, as SentenceTransformer does."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 8)

    def forward(self, features: dict[str, Tensor], **_options: Any) -> dict[str, Tensor]:
        mask = features["attention_mask"].unsqueeze(2)
        features["sentence_embedding"] = (self.tokens(features["input_ids"]) * mask).mean(1)
        return features


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.product = nn.Bilinear(4, 3, 5)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        product: Tensor = self.product(one, other)
        return product


CASES: dict[str, nn.Module] = {
    "vector": nn.Linear(6, 2),
    "recurrent": nn.LSTM(6, 2, batch_first=True),
    "attention": nn.MultiheadAttention(8, 2, kdim=4, vdim=6, batch_first=True),
    "block": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "two": Pair(),
    "features": Features(),
    "sound": nn.Conv1d(2, 4, 5),
    "large": nn.Sequential(nn.Conv2d(3, 2, 65), nn.AdaptiveAvgPool2d(1)),
    "transposed": nn.ConvTranspose2d(3, 4, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_model_takes_them(name: str) -> None:
    data = synthetic(CASES[name].eval(), n_steps=0)
    assert data
    assert (len(data.fit), len(data.score)) == (2, 2)


def test_none_for_what_nobody_can_guess() -> None:
    assert synthetic(nn.Sequential(nn.LSTM(8, 6), nn.Linear(6, 3))) is None
    assert synthetic(nn.ReLU()) is None


@pytest.mark.slow
def test_they_come_near_what_batch_norms_recorded() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3))
    with torch.no_grad():
        model.train()
        for _ in range(50):
            model(torch.randn(8, 3, 16, 16) * 2 + 1)
    model.eval()
    seen: list[Tensor] = []
    hook = model[1].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))

    data = synthetic(model)
    model(torch.randn(8, 3, 64, 64))  # for comparison: what noise gives
    hook.remove()

    assert data
    for parameter in model.parameters():
        assert parameter.grad is None
    assert not model.training
    recorded = model[1].running_mean
    assert isinstance(recorded, Tensor)
    noise = (seen[-1].mean((0, 2, 3)) - recorded).abs().mean()
    with torch.no_grad():
        made = (model[0](data.fit[0]).mean((0, 2, 3)) - recorded).abs().mean()
    assert made < 0.8 * noise


def test_they_are_the_same_each_time() -> None:
    one, other = (synthetic(nn.Linear(6, 2)) for _ in range(2))
    assert one
    assert other
    assert torch.equal(one.fit[0], other.fit[0])
