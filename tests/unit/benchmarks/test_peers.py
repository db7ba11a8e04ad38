import pytest
import torch
from torch import nn

from benchmarks.peers import ALLOCATION, ROUNDING, SPEED, load
from benchmarks.peers.modelopt import classifier_loss, embedding_loss


@pytest.mark.parametrize("peer", [*SPEED.values(), *ROUNDING.values(), *ALLOCATION.values()])
def test_a_peer_is_named_without_its_library(peer: str) -> None:
    assert callable(load(peer))


def test_the_baseline_gives_the_models_output() -> None:
    model = nn.Linear(6, 5).eval()
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    run = load(SPEED["torch fp32 eager"])(model, [{"input": x}])
    torch.testing.assert_close(run({"input": x}), model(x).detach())


def test_losses_have_a_gradient_where_the_search_begins() -> None:
    torch.manual_seed(0)
    for loss in (classifier_loss, embedding_loss):
        output = torch.randn(3, 7, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss(output), output)
        assert gradient.abs().sum() > 0
