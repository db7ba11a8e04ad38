"""Which tokens a gate merges in a text, for pictures and to see what a gate prefers to merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoder.dsre.merge import Tokens, choose, combine, destinations, match
from encoder.dsre.network import SparseEncoder

if TYPE_CHECKING:
    from encoder.dsre.gatefile import GateFile


def trace(dense: nn.Module, gate: GateFile, input_ids: Sequence[int]) -> NDArray[np.int64]:
    """Follow each token of a text through the layers.

    Args:
        dense: see `SparseEncoder`.
        gate: see `SparseEncoder`.
        input_ids: of one text.

    Returns:
        int64 [n_layers, n_tokens]: after each layer's gate, the place of the token it is now part
        of, among the tokens that are left. Tokens with the same place have been merged.

    Raises:
        ModelError: see `SparseEncoder`.
    """
    network = _Tracing(dense, gate).eval()
    ids = torch.tensor([list(input_ids)])
    with torch.inference_mode():
        network(ids, torch.ones(ids.shape))
    gated = iter(network.moves)
    places = torch.arange(ids.shape[1])
    positions = []
    for threshold in network.settings.thresholds:
        if threshold is not None and (moves := next(gated, None)) is not None:
            places = moves[0, places]
        positions.append(places.numpy())
    return np.stack(positions)


class _Tracing(SparseEncoder):
    """Notes where tokens go."""

    def __init__(self, dense: nn.Module, gate: GateFile) -> None:
        super().__init__(dense, gate)
        self.moves: list[Tensor] = []

    def _merge(self, tokens: Tokens, floor: Tensor, threshold: float, active: Tensor) -> Tokens:
        if not bool(active):
            return tokens
        similarity, partner = match(tokens, self.blocks.matching)
        merged = choose(similarity, tokens.sizes, floor, threshold)
        self.moves.append(destinations(tokens.sizes, merged, partner))
        return combine(tokens, merged, partner)
