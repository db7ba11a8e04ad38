"""The gate as one torch operator, so that an exported graph can skip it for short texts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from encoder.dsre.merge import Tokens, merge_tokens


@torch.library.custom_op("anymodal::merge_tokens", mutates_args=())
def _merge(
    states: Tensor,
    sizes: Tensor,
    protection: Tensor,
    floor: Tensor,
    threshold: float,
    active: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    if not bool(active):
        return states.clone(), sizes.clone(), protection.clone()
    states, sizes, protection = merge_tokens(Tokens(states, sizes, protection), floor, threshold)
    return states, sizes, protection


@_merge.register_fake
def _(
    states: Tensor,
    sizes: Tensor,
    protection: Tensor,
    floor: Tensor,
    threshold: float,
    active: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    del floor, threshold, active
    length = torch.library.get_ctx().new_dynamic_size()
    n, _, d = states.shape
    return (
        states.new_empty(n, length, d),
        sizes.new_empty(n, length),
        protection.new_empty(n, length),
    )


MERGE: Any = torch.ops.anymodal.merge_tokens
"""`merge_tokens` for tracing; ``active`` (bool, no axes) is whether any row may merge."""
