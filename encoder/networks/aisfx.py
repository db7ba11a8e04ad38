"""The CNN of aiSFX, which hears the kinds of sound effects.

From "Representation learning for the automatic indexing of sound effects libraries" (Ma & Liu,
ISMIR 2022). One trunk and a small classifier for each sound library that it was trained on; two
of the libraries are sorted by the Universal Category System (UCS), nearly completely, and only
their classifiers are kept.
Importing this module imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import ModelError

CHANNELS = (64, 128, 256, 512)
HEADS = {0: 78, 1: 79}
"""Classifiers that are kept: their index in the checkpoint, and their number of classes."""


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
        ends = zip((1, *CHANNELS[:-1]), CHANNELS, (2, 2, 2, 1), strict=True)
        self.blocks = nn.ModuleList(ConvBlock(i, o, pool=pool) for i, o, pool in ends)
        self.heads = nn.ModuleList(_head(n) for n in HEADS.values())

    def forward(self, blocks: Tensor) -> tuple[Tensor, ...]:
        """Hear blocks of sound.

        Args:
            blocks: float32 [n, frames, bands], scaled as `encoder.towers.logmel.scale` does.

        Returns:
            Features [n, 512], and the logits of each head of `HEADS` [n, n_classes].
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
    checkpoint = _read(path)
    weights = {
        f"blocks.{i}.{name}": tensor
        for i in range(len(CHANNELS))
        for name, tensor in _below(f"embedding_net.conv_block{i + 1}.", checkpoint).items()
    }
    for new, old in enumerate(HEADS):
        weights |= {f"heads.{new}.{k}": v for k, v in _below(f"fc.{old}.", checkpoint).items()}
    model = Aisfx()
    model.load_state_dict(weights)
    return model.eval()


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def _read(path: Path) -> dict[str, Tensor]:
    """The checkpoint's tensors; nothing in the file may run code.

    Beside the tensors it holds class counts as numpy integers, so the three names that spell
    such an integer are allowed, and no other.
    """
    import pickle

    import numpy as np
    from numpy._core.multiarray import scalar

    integer: list[Any] = [
        (scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType
    ]  # fmt: skip
    try:
        with torch.serialization.safe_globals(integer):
            weights, _ = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is not the aiSFX checkpoint: {error}.", remedy="Run `anymodal bundle fetch`."
        ) from error
    return dict(weights)
