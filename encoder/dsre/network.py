"""The sparse forward: the same modules and weights as the dense model, fewer tokens."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.adapters import blocks_of
from encoder.dsre.deltas import Deltas, expand
from encoder.dsre.gatefile import GateFile
from encoder.dsre.merge import Tokens, merge_tokens

Pooling = Literal["mean", "cls", "last"]
Network = TypeVar("Network", bound=nn.Module)


class SparseEncoder(nn.Module):
    """A text encoder that merges similar tokens on the way.

    Args:
        dense: a model that `blocks_of` knows; it stays as it is.
        gate: what to merge, and the weight changes, which are applied to a copy of ``dense``.
        pooling: how the last layer becomes one vector; CLS computes only what CLS needs, where
            the architecture's adapter can.

    Raises:
        ModelError: the architecture is unknown, or the gate was made for a different model.
    """

    rarity: Tensor

    def __init__(self, dense: nn.Module, gate: GateFile, *, pooling: Pooling = "mean") -> None:
        super().__init__()
        dense_blocks = blocks_of(dense)
        gate.check_fit(dense_blocks.shape.n_layers, dense_blocks.vocab_size)
        self.dense = changed(dense, gate.deltas)
        self.settings = gate.settings
        self.pooling = pooling
        self.blocks = blocks_of(self.dense)
        self.register_buffer("rarity", torch.from_numpy(gate.rarity), persistent=False)

    def forward(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embed padded texts.

        Args:
            input_ids: int64 token ids [n, length], padded on the right.
            mask: float32 [n, length], 1 for a token and 0 for padding.

        Returns:
            Pooled vectors (not normalised), float32 [n, hidden_dim], and the number of tokens
            after each layer's attention, int64 [n, n_layers].
        """
        return self.run(_even(input_ids), _even(mask))

    def run(self, input_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for texts that are already padded to an even length."""
        tokens = Tokens(self.blocks.embed(input_ids), mask, self._protect(input_ids, mask))
        floor = self._floor(mask)
        active = (mask.sum(1) > floor).any()
        n_left = []
        for layer, threshold in enumerate(self.settings.thresholds):
            queries = 1 if self.cls_only and layer == self.blocks.shape.n_layers - 1 else None
            attended = self.blocks.attend(layer, tokens.states, _bias(tokens), queries)
            tokens = tokens._replace(states=attended)
            if threshold is not None and queries is None:
                tokens = self._merge(tokens, floor, threshold, active)
            n_left.append((tokens.sizes > 0).sum(1))
            tokens = tokens._replace(states=self.blocks.feed(layer, tokens.states))
        return self._pool(tokens), torch.stack(n_left, 1)

    @property
    def cls_only(self) -> bool:
        """Whether the last layer computes the first token alone."""
        return self.pooling == "cls" and self.blocks.narrows

    def _protect(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        rarity = self.rarity[input_ids].to(mask.dtype)
        return rarity * mask * (self.settings.protection / 255.0)

    def _floor(self, mask: Tensor) -> Tensor:
        """The least number of tokens that each row keeps, int64 [n]: a short text keeps all."""
        n_tokens = mask.sum(1)
        floor = (n_tokens * self.settings.floor).ceil()
        return torch.where(n_tokens < self.settings.min_tokens, n_tokens, floor).long()

    def _merge(self, tokens: Tokens, floor: Tensor, threshold: float, active: Tensor) -> Tokens:
        if not bool(active):
            return tokens
        return merge_tokens(tokens, floor, threshold, self.blocks.matching)

    def _pool(self, tokens: Tokens) -> Tensor:
        states = self.blocks.finish(tokens.states)
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            last = (tokens.sizes > 0).sum(1) - 1
            # by its shape, since len() would fix the number of rows in a graph
            rows = torch.arange(states.shape[0], device=states.device)
            return states[rows, last]
        weights = tokens.sizes.unsqueeze(2)
        return (states * weights).sum(1) / weights.sum(1)


def changed(network: Network, deltas: Deltas) -> Network:
    """A copy of a network with a gate's changes added; the network itself if there are none.

    Raises:
        ModelError: a change matches no parameter of the network, or has a different shape.
    """
    if not deltas:
        return network
    copy = deepcopy(network)
    parameters = dict(copy.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, change in expand(deltas, shapes).items():
            parameters[name].add_(torch.from_numpy(change))
    return copy


def _even(x: Tensor) -> Tensor:
    """Pad [n, length] with one 0 if its length is odd."""
    return functional.pad(x, (0, 1))[:, : (x.shape[1] + 1) // 2 * 2]


def _bias(tokens: Tokens) -> Tensor:
    """Proportional attention (Bolya et al. 2023): a token of size s has the weight of s tokens."""
    lowest = torch.finfo(tokens.states.dtype).min
    # a real token's size is at least 1
    logs = torch.where(tokens.sizes > 0, tokens.sizes.clamp_min(1.0).log(), lowest)
    return logs[:, None, None, :]
