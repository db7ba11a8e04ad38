"""Batch norms that can be folded are; the function stays the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoder.quant.calibration import run
from encoder.quant.folding import find_folds, fold, folded


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


def test_another_instance_takes_the_folded_weights() -> None:
    model, folds = folded(net(), PICTURES)
    other = Net().eval()
    fold(other, folds)
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other, PICTURES), run(model, PICTURES))


def test_layers_that_run_twice_keep_their_norms() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval()
    twice = nn.Sequential(model, model)
    assert find_folds(model, torch.ones(2, 4)) == {"1": "0"}
    assert find_folds(twice, torch.ones(2, 4)) == {}


def test_nothing_to_fold() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).eval()
    assert folded(model, torch.ones(2, 4)) == (model, {})
