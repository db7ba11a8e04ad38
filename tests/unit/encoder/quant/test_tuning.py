"""Tuning a quantized model towards its original."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from encoder.errors import InputError
from encoder.quant.calibration import kl_divergence, run
from encoder.quant.fit import quantize
from encoder.quant.layers import find_layers
from encoder.quant.schemes import FP16, INT3, INT4, Scheme
from encoder.quant.stored import stored_layers
from encoder.quant.tuning import Grid, Rates, tune

FAST = Rates(codes=0.02)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(32, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 32), nn.Linear(32, 8)
    return nn.Sequential(*layers).eval()


def batches(n: int, seed: int) -> list[Tensor]:
    return list(torch.randn(n, 16, 32, generator=torch.Generator().manual_seed(seed)))


def loss(model: nn.Module, quantized: nn.Module) -> float:
    """The loss on data that was not used for tuning."""
    held_out = torch.cat(batches(16, seed=9))
    return float(kl_divergence(run(model, held_out), run(quantized, held_out)).mean())


def rounded(model: nn.Module, *schemes: Scheme) -> nn.Module:
    chosen = dict(zip(find_layers(model), schemes, strict=True))
    return quantize(model, chosen, batches(4, seed=1)).module


def test_what_is_stored_stays_as_large_and_the_input_untouched(model: nn.Module) -> None:
    quantized = rounded(model, INT3, FP16, INT4)
    before = {name: tensor.clone() for name, tensor in quantized.state_dict().items()}
    tuned = tune(model, quantized, batches(4, seed=2), objective="kl", n_steps=10, rates=FAST)
    assert all(torch.equal(before[name], x) for name, x in quantized.state_dict().items())
    after = tuned.state_dict()
    assert {name: (x.shape, x.dtype) for name, x in after.items()} == {
        name: (x.shape, x.dtype) for name, x in before.items()
    }
    assert torch.equal(after["3.packed"], before["3.packed"])  # FP16
    assert not torch.equal(after["4.packed"], before["4.packed"])
    assert not torch.equal(after["1.weight"], before["1.weight"])


def test_no_step_at_all_changes_nothing(model: nn.Module) -> None:
    quantized = rounded(model, INT3, INT4, Scheme(4, 32))
    still = Rates(codes=0.0, scales=0.0, floats=0.0)
    tuned = tune(model, quantized, batches(1, seed=2), objective="kl", n_steps=1, rates=still)
    x = torch.cat(batches(1, seed=3))
    assert torch.equal(run(tuned, x), run(quantized, x))


def test_tied_weights_stay_tied() -> None:
    torch.manual_seed(0)
    table = nn.Embedding(50, 16)
    out = nn.Linear(16, 50, bias=False)
    out.weight = table.weight
    model = nn.Sequential(table, nn.Linear(16, 16), out).eval()
    ids = [torch.randint(0, 50, (8, 5)) for _ in range(4)]
    quantized = quantize(model, dict.fromkeys(find_layers(model), INT4), ids).module
    tuned = dict(stored_layers(tune(model, quantized, ids, objective="kl", n_steps=9, rates=FAST)))
    assert torch.equal(tuned["0"].packed, tuned["2"].packed)
    assert not torch.equal(tuned["1"].packed, dict(stored_layers(quantized))["1"].packed)


def test_codes_keep_to_their_range(model: nn.Module) -> None:
    grid = Grid(dict(stored_layers(rounded(model, INT3, INT4, INT4)))["0"])
    far = torch.full(grid.layout.shape, 99.0)
    assert set(grid.codes(far).unique().tolist()) == {3.0}
    assert set(grid.codes(-far).unique().tolist()) == {-4.0}


@pytest.mark.parametrize(
    ("data", "n_steps", "message"),
    [(list, 3, "batches"), (lambda: batches(1, 0), 0, "n_steps")],
)
def test_nothing_to_do_is_refused(
    model: nn.Module, data: Callable[[], list[Tensor]], n_steps: int, message: str
) -> None:
    quantized = rounded(model, INT4, INT4, INT4)
    with pytest.raises(InputError, match=message):
        tune(model, quantized, data(), objective="kl", n_steps=n_steps)
