"""How far a quantized model's output is from the original's. Pure functions on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Objective = Literal["kl", "cosine"]
"""``kl`` for classifiers (logits), ``cosine`` for embedders."""


def divergence(objective: Objective, original: Tensor, quantized: Tensor) -> Tensor:
    """The mean divergence over all items; a scalar ≥ 0, 0 for equal outputs.

    Args:
        objective: see `Objective`.
        original: outputs [n, ..., d].
        quantized: of the same shape.
    """
    by_name = {"kl": kl_divergence, "cosine": cosine_loss}
    return by_name[objective](original, quantized).mean()


def kl_divergence(original: Tensor, quantized: Tensor) -> Tensor:
    """KL(softmax(original) ‖ softmax(quantized)) along the last axis, in nats [n, ...]."""
    p, q = original.log_softmax(-1), quantized.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def cosine_loss(original: Tensor, quantized: Tensor) -> Tensor:
    """1 − cosine along the last axis, [n, ...]."""
    from torch.nn import functional

    return 1 - functional.cosine_similarity(original, quantized, dim=-1)
