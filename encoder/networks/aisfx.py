"""The CNN of aiSFX, which recognises kinds of sound effects.

From "Representation learning for the automatic indexing of sound effects libraries" (Ma & Lerch,
ISMIR 2022). One trunk and a small classifier for each sound library that it was trained on; two
of the libraries are sorted by the Universal Category System (UCS), nearly completely, and only
their classifiers are kept.

Importing this module imports torch.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.onnx.convolutions import CHANNELS, HEADS, POOLS, read_aisfx


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
    """Blocks of a log-mel spectrogram to a feature vector and UCS logits."""

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
