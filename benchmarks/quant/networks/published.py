"""Nine published networks in their published sizes, with random weights.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.allocation.targets import Target

_STD = 0.02


@dataclass(frozen=True)
class Published:
    """A network and how far it is to shrink.

    Args:
        make: builds it with random weights.
        side: of the square pictures that it takes; None if it takes tokens.
        bits: average per parameter: 9 where TensorRT has no 4 bits (convolutions).
        targets: the runtimes that it is exported for.
    """

    make: Callable[[], nn.Module]
    side: int | None = None
    bits: float = 6.4
    targets: tuple[Target, ...] = ("tensorrt",)

    def batch(self, n_items: int) -> Tensor:
        """Pictures [n, 3, side, side] of noise, or 64 random tokens [n, 64]."""
        if self.side is None:
            return torch.randint(5, 30_000, (n_items, 64))
        return torch.randn(n_items, 3, self.side, self.side)


_ALL: tuple[Target, ...] = ("tensorrt", "openvino")


def _pictures(
    name: str, bits: float = 6.4, targets: tuple[Target, ...] = ("tensorrt",)
) -> Published:
    def make() -> nn.Module:
        model: nn.Module = getattr(import_module("torchvision.models"), name)(weights=None)
        return without_zeros(model).eval()

    return Published(make, 224, bits, targets)


def _texts(
    model: str, config: str, targets: tuple[Target, ...] = ("tensorrt",), **changed: Any
) -> Published:
    def make() -> nn.Module:
        module = import_module("transformers")
        made: nn.Module = getattr(module, model)(getattr(module, config)(**changed))
        return without_zeros(made).eval()

    return Published(make, targets=targets)


def without_zeros(model: nn.Module) -> nn.Module:
    """The model, with weights drawn where training would begin with zeros, as in ViT's head.

    Otherwise its output would be zero, whatever the other weights.
    """
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=_STD)
    return model


NETWORKS: dict[str, Published] = {
    "mobilenet_v2": _pictures("mobilenet_v2", 9, _ALL),
    "efficientnet_b0": _pictures("efficientnet_b0", 9),
    "resnet50": _pictures("resnet50", 9),
    "convnext_tiny": _pictures("convnext_tiny"),
    "swin_t": _pictures("swin_t"),
    "vit_b_16": _pictures("vit_b_16"),
    "bert-base": _texts("BertModel", "BertConfig", _ALL),
    "gpt2": _texts("GPT2LMHeadModel", "GPT2Config", ("openvino", "tensorrt"), use_cache=False),
    "modernbert-base": _texts("ModernBertModel", "ModernBertConfig"),
}
