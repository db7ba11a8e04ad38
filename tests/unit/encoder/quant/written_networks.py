"""Hand-written networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.unit.encoder.quant.listed import network, of


@network("a GRU, and a bilinear form")
def scorer() -> nn.Module:
    class Scorer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bands, self.past = nn.Conv1d(8, 16, 5), nn.GRU(16, 12, batch_first=True)
            self.score = nn.Bilinear(12, 12, 6)

        def forward(self, sound: Tensor) -> Tensor:
            last = self.past(self.bands(sound)[..., :40].transpose(1, 2))[1][0]
            return self.score(last, last)

    return Scorer()


@network("queries, keys and values of three widths")
def attention() -> nn.Module:
    return nn.MultiheadAttention(32, 2, kdim=16, vdim=24, batch_first=True)


@network("a convolution by function, its weight a parameter", of(4, 3, 32, 32))
def functional_conv() -> nn.Module:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernels = nn.ParameterList([torch.randn(16, 3, 3, 3), torch.randn(16, 4, 3, 3)])
            self.head = nn.Parameter(torch.randn(16, 5) / 4)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.conv2d(x, self.kernels[0] / 5, stride=2).relu()
            x = functional.conv2d(x, self.kernels[1], groups=4).relu()
            return x.mean((2, 3)) @ self.head

    return Functional()


@network("weight norm as a hook")
def hooked() -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = nn.utils.weight_norm(nn.Conv1d(4, 16, 5))
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 4))


@network("one product of matrices per head", of(8, 6, 16))
def batched_products() -> nn.Module:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.Parameter(torch.randn(6, 16, 20) / 4)
            self.joined = nn.Linear(20, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.joined(torch.bmm(x.transpose(0, 1), self.heads).relu().mean(0))

    return Heads()


@network("a branch in the graph", of(8, 16))
def conditional() -> nn.Module:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x = torch.cond(x.sum() > 0, lambda x: x.relu(), lambda x: x.tanh(), (x,))
            return self.last(x)

    return Conditional()


@network("float64")
def double() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 5)).double()


@network("cells in a loop of the forward", of(8, 3, 12))
def cells() -> nn.Module:
    class Cells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.last = nn.LSTMCell(12, 16), nn.Linear(16, 3)

        def forward(self, frames: Tensor) -> Tensor:
            hidden = cell = frames.new_zeros(len(frames), 16)
            for step in range(frames.shape[1]):
                hidden, cell = self.cell(frames[:, step], (hidden, cell))
            return self.last(hidden)

    return Cells()


@network("a weight that the forward computes of two others")
def adapted() -> nn.Module:
    class Adapted(nn.Linear):
        def __init__(self) -> None:
            super().__init__(24, 32)
            self.down = nn.Parameter(torch.randn(4, 24) / 5)
            self.up = nn.Parameter(torch.randn(32, 4) / 9)

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x, self.weight + self.up @ self.down, self.bias)

    return nn.Sequential(Adapted(), nn.GELU(), nn.Linear(32, 6))


@network("volumes, circular padding, groups of channels", of(2, 4, 8, 8, 8))
def volumes() -> nn.Module:
    first = nn.Conv3d(4, 8, 3, padding=1, padding_mode="circular")
    second = nn.Conv3d(8, 8, 3, groups=2)
    return nn.Sequential(
        first, nn.GroupNorm(2, 8), nn.SiLU(), second, nn.Flatten(2), nn.Softmax(-1)
    )
