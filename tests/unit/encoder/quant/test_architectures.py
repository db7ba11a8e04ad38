"""Forty networks are quantized as `benchmarks/networks.md` says; what inputs are made of models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from encoder.quant.synthetic import synthetic
from tests.unit.encoder.quant.networks import NETWORKS, row, tried

DOCUMENTED = (Path(__file__).resolve().parents[4] / "benchmarks" / "networks.md").read_text("utf-8")


@pytest.mark.filterwarnings("ignore")  # of the libraries that the networks come from
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_each_network_goes_through_the_four_lines(name: str, tmp_path: Path) -> None:
    result = tried(NETWORKS[name], tmp_path)
    (documented,) = (line for line in DOCUMENTED.splitlines() if line.startswith(f"| {name} |"))
    is_better = "| three" in documented and result.startswith("yes")
    assert is_better or row(name, result) == documented


LARGE = nn.Sequential(nn.Conv2d(3, 2, 65), nn.AdaptiveAvgPool2d(1))


@pytest.mark.parametrize("model", [LARGE, nn.Bilinear(4, 3, 5)], ids=["large kernel", "two inputs"])
def test_a_model_takes_what_is_made_from_it(model: nn.Module) -> None:
    data = synthetic(model.eval(), n_steps=0)
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
