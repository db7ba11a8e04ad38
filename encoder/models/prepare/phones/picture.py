"""The picture tower as modules that ExecuTorch takes: bytes in, unit rows out, in float32.

See `encoder.models.mobile.graphs`, which writes the same as ONNX nodes.
Importing this imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from encoder.graphs.efficientnet_lite import LITE2, pooled_blocks
from encoder.networks.efficientnet_lite import load_efficientnet_lite
from encoder.towers.picture.head import NAMED_SHARE, SETTINGS, ImageHead
from encoder.towers.picture.tower import CROP_PADDING, MEAN, SCALE, SIDE, ConseSettings

_WEIGHT_STEPS = 2**22


class Pixels(nn.Module):
    """Bytes of a picture, uint8 [height, width, 3], to what the network takes.

    Pillow's bicubic filter as two products, as in `encoder.models.mobile.graphs`; here the sums are
    in float32, so one pixel in tens of thousands differs by a grey level.
    """

    def forward(self, rgb: Tensor) -> Tensor:
        """Float32 [1, 3, SIDE, SIDE]."""
        height, width, _ = rgb.shape
        rows, columns = (torch.arange(n, dtype=torch.float64) for n in (height, width))
        square = torch.minimum(rows[-1:], columns[-1:]) + 1
        square = square * SIDE / (SIDE + CROP_PADDING)
        across, down = (_filter(places, square) for places in (columns, rows))
        planes = rgb.permute(2, 0, 1).float().reshape(1, 3 * height, width)
        narrow = _rounded(planes @ across.T[None]).view(3, height, SIDE)
        beside = narrow.permute(1, 0, 2).reshape(1, height, 3 * SIDE)
        small = _rounded(down[None] @ beside).view(1, SIDE, 3, SIDE)
        return (small.permute(0, 2, 1, 3) - MEAN) / SCALE


def _filter(places: Tensor, square: Tensor) -> Tensor:
    """Weights of each pixel of a side in each of the scaled pixels, float32 [SIDE, length]."""
    start = (places[-1:] + 1 - square) / 2
    left = start.float()
    side = ((start + square).float() - left).double()
    step = side / SIDE
    wanted = torch.arange(SIDE, dtype=torch.float64)[:, None] + 0.5
    centres = left.double() + wanted * step
    away = ((places + 0.5 - centres) / step.clamp(min=1)).abs()
    weights = _bicubic(away)
    fine = weights / weights.sum(1, keepdim=True) * _WEIGHT_STEPS
    return (fine.round() / _WEIGHT_STEPS).float()


def _bicubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -.5 (Keys 1981) at distances x >= 0."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _rounded(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)


class PictureRows(nn.Module):
    """A picture's bytes to the rows that the server stores.

    Args:
        weights: see `Classifier`.
        head: a label table [n_labels, embed_dim] (one row), or a head (two rows).
    """

    def __init__(self, weights: Path, head: NDArray[Any] | ImageHead) -> None:
        super().__init__()
        self.pixels = Pixels()
        self.classifier = Classifier(weights, with_features=isinstance(head, ImageHead))
        self.head: nn.Module
        if isinstance(head, ImageHead):
            self.head = Described(head)
        else:
            self.head = Named(head, ConseSettings())

    def forward(self, rgb: Tensor) -> Tensor:
        """Uint8 [height, width, 3] to float32 [n_rows, embed_dim]."""
        rows: Tensor = self.head(self.classifier(self.pixels(rgb)))
        return rows


class Classifier(nn.Module):
    """EfficientNet-Lite2: pixels to logits, and to the features that a head reads.

    Args:
        weights: its ``.pth`` file.
        with_features: whether a head reads them.
    """

    def __init__(self, weights: Path, *, with_features: bool) -> None:
        super().__init__()
        self.network = load_efficientnet_lite(weights, LITE2)
        self._pooled = pooled_blocks(LITE2) if with_features else {}

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The same outputs as the server's network, each [1, n]."""
        x, found = self.network.begin(pixels), []
        for index, block in enumerate(self.network.blocks):
            x = block(x)
            if index in self._pooled:
                found.append(_mean(x))
        mean = _mean(self.network.end(x))
        logits = self.network.classify(mean)
        return [logits, *found, mean] if self._pooled else [logits]


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True).flatten(1)


class Named(nn.Module):
    """See `encoder.towers.picture.tower.conse`: logits [1, n_labels] to a row [1, dim].

    Args:
        labels: places of the classes [n_labels, dim].
        settings: how many of them count, and how much.
    """

    def __init__(self, labels: NDArray[np.floating[Any]], settings: ConseSettings) -> None:
        super().__init__()
        self.labels = _constant(labels)
        self._settings = settings

    def forward(self, outputs: list[Tensor]) -> Tensor:
        logits = outputs[0]
        best, which = torch.topk(logits, self._settings.n_classes)
        weights = functional.softmax(best / self._settings.temperature, -1)
        return unit((weights[..., None] * functional.embedding(which, self.labels)).sum(1))


class Described(nn.Module):
    """See `encoder.towers.picture.head.ImageHeadTower`: outputs of the network to two unit rows."""

    def __init__(self, head: ImageHead) -> None:
        super().__init__()
        self.named = Named(head.labels, SETTINGS)
        self.mean, self.scale = _constant(head.mean), _constant(head.scale)
        self.weight = _constant(head.weight.T)

    def forward(self, outputs: list[Tensor]) -> Tensor:
        named = self.named(outputs)
        features = (torch.cat(outputs, 1) - self.mean) * self.scale
        described = unit(functional.linear(features, self.weight))
        return torch.cat([unit(described + NAMED_SHARE * named), named])


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    return rows * (rows * rows).sum(-1, keepdim=True).rsqrt()


def _constant(array: NDArray[np.floating[Any]]) -> nn.Parameter:
    floats = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    return nn.Parameter(floats, requires_grad=False)
