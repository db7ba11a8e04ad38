"""EfficientNet-Lite: MobileNet-like blocks with ReLU6 (Tan & Le 2019; Lite variant, 2020).

Written for the published PyTorch conversions of the TensorFlow weights: attribute names are
those of that state dict, padding is TensorFlow's ``SAME``. Importing this imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

_NORM_EPS = 1e-3
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280
_CHANNEL_MULTIPLE = 8


@dataclass(frozen=True)
class LiteSize:
    """Width and depth factors, and the side in pixels of the square input."""

    width: float
    depth: float
    image_side: int
    n_classes: int = 1000


LITE2 = LiteSize(width=1.1, depth=1.2, image_side=260)


@dataclass(frozen=True)
class BlockSize:
    """One block. ``expand`` is the factor of the inner width."""

    kernel: int
    stride: int
    expand: int
    n_in: int
    n_out: int


# repeats, kernel, stride, expand, channels out: the stages of EfficientNet-B0
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def scale_channels(channels: int, width: float) -> int:
    """Scale to the nearest multiple of 8 that is not more than 10 % below the wish.

    >>> scale_channels(24, 1.1), scale_channels(16, 1.1)
    (24, 16)
    """
    wish = channels * width
    rounded = max(_CHANNEL_MULTIPLE, int(wish / _CHANNEL_MULTIPLE + 0.5) * _CHANNEL_MULTIPLE)
    return rounded + _CHANNEL_MULTIPLE if rounded < 0.9 * wish else rounded


def block_sizes(size: LiteSize) -> Iterator[BlockSize]:
    """The blocks from stem to head; the Lite variants scale neither end's depth."""
    n_in = _STEM_CHANNELS
    for index, (repeats, kernel, stride, expand, channels) in enumerate(_STAGES):
        n_out = scale_channels(channels, size.width)
        is_end = index in (0, len(_STAGES) - 1)
        for repeat in range(repeats if is_end else math.ceil(repeats * size.depth)):
            yield BlockSize(kernel, stride if repeat == 0 else 1, expand, n_in, n_out)
            n_in = n_out


class SamePadConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's ``SAME``: the odd pixel comes last."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, n_in, h, w] to [n, n_out, ceil(h / stride), ceil(w / stride)]."""
        top, bottom = self._pad(x.shape[2])
        left, right = self._pad(x.shape[3])
        return super().forward(functional.pad(x, (left, right, top, bottom)))

    def _pad(self, length: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
        return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_NORM_EPS)


class Block(nn.Module):
    """An inverted residual: expand, filter each channel, project."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        inner = size.n_in * size.expand
        self._expands = size.expand != 1
        self._has_skip = size.stride == 1 and size.n_in == size.n_out
        if self._expands:
            self._expand_conv = SamePadConv(size.n_in, inner, 1)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SamePadConv(inner, inner, size.kernel, size.stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = SamePadConv(inner, size.n_out, 1)
        self._bn2 = _norm(size.n_out)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [n, n_in, h, w] to [n, n_out, h / stride, w / stride]."""
        x: Tensor = inputs
        if self._expands:
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + inputs if self._has_skip else x


class EfficientNetLite(nn.Module):
    """An ImageNet classifier."""

    def __init__(self, size: LiteSize) -> None:
        super().__init__()
        blocks = list(block_sizes(size))
        self._conv_stem = SamePadConv(3, _STEM_CHANNELS, 3, 2)
        self._bn0 = _norm(_STEM_CHANNELS)
        self._blocks = nn.ModuleList(Block(block) for block in blocks)
        self._conv_head = SamePadConv(blocks[-1].n_out, _HEAD_CHANNELS, 1)
        self._bn1 = _norm(_HEAD_CHANNELS)
        self._fc = nn.Linear(_HEAD_CHANNELS, size.n_classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels, float32 [n, 3, side, side], to logits [n, n_classes]."""
        x = functional.relu6(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean((2, 3)))
        return logits


def load_efficientnet_lite(path: Path, size: LiteSize) -> EfficientNetLite:
    """Load a ``.pth`` state dict (tensors only, never pickled code), ready for inference."""
    model = EfficientNetLite(size)
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()
