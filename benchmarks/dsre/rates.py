"""Thresholds that merge at given rates, to time a network whose weights mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from encoder.dsre.gatefile import GateFile
from encoder.dsre.merge import Tokens, combine, match
from encoder.dsre.network import SparseEncoder

if TYPE_CHECKING:
    from torch import Tensor

    from encoder.networks.bert import SentenceBert


def fixed_rates(
    model: SentenceBert, gate: GateFile, input_ids: Tensor, keep: Sequence[float]
) -> GateFile:
    """A gate that leaves the same share of one text in each layer as another network's gate.

    Args:
        model: any weights.
        gate: supplies its rarity and its settings, except the thresholds.
        input_ids: the text, int64 [1, length].
        keep: the share of its tokens that is left after each layer, [n_layers]; not rising.
    """
    idle = tuple(1.0 for _ in keep)
    network = SparseEncoder(model, GateFile(gate.rarity, replace(gate.settings, thresholds=idle)))
    n_tokens = input_ids.shape[1]
    mask = torch.ones(input_ids.shape)
    protection = network.rarity[input_ids] * (gate.settings.protection / 255.0)
    tokens = Tokens(network.blocks.embed(input_ids), mask, protection)
    found: list[float | None] = []
    for layer, share in enumerate(keep):
        bias = tokens.sizes.log()[:, None, None, :]
        tokens = tokens._replace(states=network.blocks.attend(layer, tokens.states, bias, None))
        tokens, threshold = _merge_to(tokens, round(share * n_tokens))
        found.append(threshold)
        tokens = tokens._replace(states=network.blocks.feed(layer, tokens.states))
    return GateFile(gate.rarity, replace(gate.settings, thresholds=tuple(found)))


def _merge_to(tokens: Tokens, n_left: int) -> tuple[Tokens, float | None]:
    """Merge until ``n_left`` tokens are left; the threshold for it, None if nothing was merged."""
    n_merged = int((tokens.sizes > 0).sum()) - n_left
    if n_merged <= 0:
        return tokens, None
    similarity, partner = match(tokens)
    ranked = similarity[0].sort(descending=True).values
    threshold = float(ranked[n_merged - 1 : n_merged + 1].mean())
    threshold = min(max(threshold, 0.0), 1.0)
    return combine(tokens, similarity > threshold, partner), threshold
