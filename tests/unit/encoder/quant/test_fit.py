"""Quantizing a whole model, with what fell back listed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from encoder.errors import InputError, ModelError
from encoder.quant.calibration import Objective, divergence, run
from encoder.quant.fit import quantize
from encoder.quant.folding import find_folds, folded
from encoder.quant.layers import find_layers
from encoder.quant.schemes import INT3, INT4, INT8, Scheme
from encoder.quant.stored import QuantizedWeights, stored_layers
from tests.unit.encoder.quant.rounded import random


def deep(width: int = 32, depth: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(*layers, nn.Linear(width, 8)).eval()


def miss(model: nn.Module, quantized: nn.Module, x: Tensor) -> float:
    return float((run(model, x) - run(quantized, x)).square().mean())


def test_the_model_stays_as_it_was() -> None:
    model = deep()
    before = run(model, random(4, 32))
    quantize(model, dict.fromkeys(find_layers(model), INT3), [random(64, 32)])
    assert torch.equal(run(model, random(4, 32)), before)
    assert list(stored_layers(model)) == []


def test_calibrated_is_nearer_on_other_inputs() -> None:
    model, batches = deep(), [random(300, 32, seed=seed) for seed in range(4)]
    schemes, x = dict.fromkeys(find_layers(model), INT3), random(500, 32, seed=9)
    fitted, plain = (quantize(model, schemes, data).module for data in (batches, None))
    assert miss(model, fitted, x) < 0.5 * miss(model, plain, x)


def test_the_mean_of_a_layers_output_stays() -> None:
    model, x = nn.Linear(16, 8), random(200, 16) + 2
    quantized = quantize(model, {"": INT3}, [x]).module
    torch.testing.assert_close(run(quantized, x).mean(0), run(model, x).mean(0))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_weights_are_fitted_to_what_they_see(kind: type[nn.RNNBase]) -> None:
    class LastState(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrence = kind(16, 24, 2, batch_first=True)

        def forward(self, steps: Tensor) -> Tensor:
            states: Tensor = self.recurrence(steps)[0]
            return states[:, -1]

    torch.manual_seed(0)
    model, mixing = LastState().eval(), random(16, 16, seed=3)
    first, *others = (random(200, 6, 16, seed=seed) @ mixing for seed in range(4))
    schemes = dict.fromkeys(find_layers(model), INT3)
    fitted, plain = (quantize(model, schemes, data) for data in (others, None))
    assert not fitted.notes
    assert miss(model, fitted.module, first) < 0.8 * miss(model, plain.module, first)


class Branching(nn.Module):
    """Takes one way or the other."""

    def __init__(self) -> None:
        super().__init__()
        self.odd, self.even, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.odd(x) if len(x) % 2 else self.even(x))
        return y


def test_batches_may_take_different_ways() -> None:
    model = Branching().eval()
    order: list[str] = []
    fitted = quantize(
        model,
        dict.fromkeys(find_layers(model), INT8),
        [random(3, 4), random(4, 4), random(5, 4)],
        progress=lambda name, done, n: order.append(f"{name} {done}/{n}"),
    )
    assert sorted(line.split()[0] for line in order) == ["even", "last", "odd"]
    assert order[-1].endswith("3/3")
    assert fitted.notes == []


def test_what_falls_back_is_listed() -> None:
    model = nn.Sequential(nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3)).eval()
    fitted = quantize(model, {"0": Scheme(4, 64), "2": Scheme(8, 32)}, [random(2, 4, 4, 4)])
    assert fitted.notes == [
        "0: groups of 64 do not divide its 36 columns, a scale per channel instead.",
        "2: groups of 32 do not divide its 20 columns, a scale per channel instead.",
    ]
    schemes = {name: module.scheme for name, module in stored_layers(fitted.module)}
    assert schemes == {"0": INT4, "2": INT8}


def test_layers_that_never_run_are_listed() -> None:
    model = Branching().eval()
    fitted = quantize(model, {"odd": INT4, "even": INT4}, [random(3, 4)])
    assert fitted.notes == ["even: its inputs were not seen, rounded by HQQ."]


def test_inputs_that_overflow_are_listed() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    fitted = quantize(model, {"0": INT4}, [torch.full((2, 4), 1e30)])
    assert fitted.notes == ["0: its Gram matrix has no factor, rounded by HQQ."]
    assert isinstance(fitted.module[0], QuantizedWeights)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(InputError, match=r"no layer 'body'.*one of 0\.0, 1"):
        quantize(deep(depth=1), {"body": INT4})


def test_a_failing_forward_is_reported() -> None:
    with pytest.raises(ModelError, match=r"fails on a calibration batch \(float32 \[2, 31\]\)"):
        quantize(deep(), {"0.0": INT4}, [random(2, 32), random(2, 31)])


def test_tables_are_rounded_by_what_the_output_forgets() -> None:
    torch.manual_seed(0)
    blind = nn.Linear(32, 32)
    blind.weight.data[:, 6:] *= 0.02  # most of a row hardly matters
    model = nn.Sequential(nn.Embedding(40, 32), blind, nn.Tanh(), nn.Linear(32, 8)).eval()
    batches = [torch.randint(0, 40, (16,)) for _ in range(8)]
    ids = torch.arange(40)

    def loss(objective: Objective | None) -> float:
        quantized = quantize(model, {"0": INT3}, batches, objective=objective).module
        return float(divergence("kl", run(model, ids), run(quantized, ids)))

    assert loss("kl") < 0.7 * loss(None)


class Net(nn.Module):
    """Norms after a padded convolution and a linear layer, and two that cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.depthwise, self.norm = nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6)
        self.read_twice, self.twice_norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.after_relu = nn.BatchNorm2d(6)
        self.head, self.head_norm = nn.Linear(6, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.depthwise(self.stem_norm(self.stem(x)).relu())).relu()
        y = self.read_twice(x)
        x = self.after_relu((self.twice_norm(y) + y).relu())
        logits: Tensor = self.head_norm(self.head(x.mean((2, 3))))
        return logits


def net() -> Net:
    torch.manual_seed(0)
    model = Net()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 2.0)
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values)
    return model.eval()


PICTURES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FOLDS = {"stem_norm": "stem", "norm": "depthwise", "head_norm": "head"}


def test_only_safe_norms_are_folded_and_the_output_stays() -> None:
    original = net()
    model, folds = folded(original, PICTURES)
    assert folds == FOLDS
    assert isinstance(original.stem_norm, nn.BatchNorm2d)
    assert isinstance(model.stem_norm, nn.Identity)
    assert isinstance(model.twice_norm, nn.BatchNorm2d)
    torch.testing.assert_close(run(model, PICTURES), run(original, PICTURES))


def test_layers_that_run_twice_keep_their_norms() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    twice = nn.Sequential(model, model)
    assert find_folds(model, torch.ones(2, 4)) == {"1": "0"}
    assert find_folds(twice, torch.ones(2, 4)) == {}
