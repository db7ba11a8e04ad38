"""Small models of several architectures, and their layers swapped for rounded ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vision_transformer import EncoderBlock

from encoder.networks.bert import BertSize, SentenceBert
from encoder.quant.layers import find_layers
from encoder.quant.rounding import hqq
from encoder.quant.schemes import Scheme
from encoder.quant.stored import swap
from encoder.quant.weights import PackedWeight


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal values, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


Schemes = str | Sequence[str] | Mapping[str, str]


def rounded(model: nn.Module, schemes: Schemes, example: Any = None) -> nn.Module:
    """A copy whose layers have these schemes: one for all, by turns, or by kind or name.

    Without an example of its inputs, an embedding's kind is not known.
    """
    copied = copy.deepcopy(model).eval()
    turns = cycle([schemes] if isinstance(schemes, str) else list(schemes))
    for name, layer in find_layers(copied, example).items():
        if isinstance(schemes, Mapping):
            scheme = Scheme.parse(schemes.get(name) or schemes[layer.kind])
        else:
            scheme = Scheme.parse(next(turns))
        if not scheme.fits(layer.n_columns):
            scheme = Scheme(scheme.bits)
        swap(copied, layer, packed(layer.rows(), scheme))
    return copied


def packed(rows: Tensor, scheme: Scheme) -> PackedWeight:
    if not scheme.is_integer:
        return PackedWeight.of_floats(rows, scheme)
    return PackedWeight.of_codes(hqq(rows, scheme), scheme)


class Cnn(nn.Module):
    """A stem with batch norm, a depthwise and a grouped convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.depthwise = nn.Conv2d(32, 32, 3, groups=32)
        self.grouped = nn.Conv2d(32, 32, 3, groups=2)
        self.head = nn.Linear(32, 10)
        self.norm.running_var = torch.rand(32) + 0.1
        self.norm.running_mean = torch.randn(32)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = self.grouped(self.depthwise(x)).relu()
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Tied(nn.Module):
    """An embedding whose table is the output layer's weight too."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, dim)
        self.head = nn.Linear(dim, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        x: Tensor = self.embedding(input_ids)
        logits: Tensor = self.head(functional.layer_norm(x, x.shape[-1:]))
        return logits


class CrossAttention(nn.Module):
    """Attention whose in_proj_weight is split, since queries and keys differ; three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)

    def forward(self, query: Tensor, memory: Tensor) -> dict[str, Any]:
        mixed, weights = self.attention(query, memory, memory)
        return {"mixed": mixed, "more": (weights, mixed.mean(1))}


class Convolutions(nn.Module):
    """In one and in three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv1d(8, 6, 4), nn.Conv3d(2, 4, (2, 2, 4))

    def forward(self, sound: Tensor, film: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(sound), self.three(film)


def bert(n_layers: int = 1) -> SentenceBert:
    return SentenceBert(BertSize(100, 64, 64, 128, n_layers, 4))


def tokens(n: int = 2, length: int = 7) -> dict[str, Tensor]:
    mask = torch.ones(n, length)
    mask[-1, -2:] = 0
    return {"input_ids": torch.randint(0, 50, (n, length)), "mask": mask}


def vit() -> nn.Module:
    return EncoderBlock(4, 64, 128, 0.0, 0.0)
