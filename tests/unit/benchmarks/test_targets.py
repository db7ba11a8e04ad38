"""``python -m benchmarks.quant targets`` on a small network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.quant import targets
from benchmarks.quant.networks.published import NETWORKS, Published, without_zeros


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 64, 4, 4), nn.Flatten(), nn.Linear(256, 128)).eval()


@pytest.mark.slow
def test_a_network_is_exported_for_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "small", Published(small, 8, bits=7.0))
    ((name, target, _, schemes, size, said, _),) = targets.measure("small")
    assert (name, target) == ("small", "tensorrt")
    assert "int4" in schemes
    assert float(size) < 0.2  # MB
    assert said.endswith("findings: 0")


def test_nine_networks_are_exported_for_tensorrt_and_take_noise() -> None:
    assert len(NETWORKS) == 9
    for network in NETWORKS.values():
        assert "tensorrt" in network.targets
        batch = network.batch(2)
        assert batch.shape == ((2, 64) if batch.dtype == torch.int64 else (2, 3, 224, 224))


def test_no_network_answers_zero_whatever_its_weights_are() -> None:
    head = nn.Linear(8, 4)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    made = without_zeros(nn.Sequential(head, nn.LayerNorm(4)))
    assert head.weight.all()
    assert not head.bias.any()
    assert made[1].weight.eq(1).all()
