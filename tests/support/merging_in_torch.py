"""Merge similar tokens of a text between attention and feed-forward, in torch.

Gates were trained with it. The product merges in graphs, in the same steps
(`encoder.onnx.merge_tokens`).

The matching is ToMe's (Bolya et al. 2023: every second token looks for the most similar one among
the others), with a threshold instead of a fixed number of merges. Inverse document frequency
(Spärck Jones 1972) keeps it from merging rare words. Everything is per row: a text gets the same
tokens in any batch.
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.dsre.deltas import Deltas, expand
from encoder.dsre.gatefile import GateFile
from encoder.networks.bert import SentenceBert

_NEVER = 1e4
# a protection that no similarity reaches


class Tokens(NamedTuple):
    """The tokens of a batch, in text order, padded on the right to an even length.

    Args:
        states: hidden states [n, length, d].
        sizes: how many input tokens each stands for, [n, length]; 0 for padding.
        protection: what a similarity must exceed in addition, [n, length]; 0 for padding.
    """

    states: Tensor
    sizes: Tensor
    protection: Tensor


def merge_tokens(tokens: Tokens, floor: Tensor, threshold: float) -> Tokens:
    """Merge each odd token into the most similar even one, where they are similar enough.

    Args:
        tokens: at least one real token in every row.
        floor: the least number of tokens that a row keeps, int64 [n].
        threshold: the similarity that a merge must exceed.

    Returns:
        The tokens that are left, compacted and padded to the longest row. A target's state is
        the mean of the tokens it stands for, its protection their largest. Nothing merges into the
        first token, and the last one (SEP) merges into nothing.
    """
    similarity, partner = match(tokens)
    merged = choose(similarity, tokens.sizes, floor, threshold)
    return combine(tokens, merged, partner)


def match(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """For each odd token the best even one.

    Returns:
        Protected similarity [n, length / 2] and the partner's index among the even tokens.
    """
    states, sizes, protection = tokens
    real = sizes > 0
    position = torch.arange(states.shape[1], device=states.device)
    last = real.sum(1, keepdim=True) - 1
    never = torch.full_like(protection, _NEVER)
    as_target = _even(torch.where(real & (position > 0), protection, never))
    as_source = _odd(torch.where(real & (position < last), protection, never))
    units = states / torch.linalg.vector_norm(states, dim=2, keepdim=True).clamp_min(1e-12)
    targets, sources = _split(units)
    cosines = sources @ targets.transpose(1, 2)
    scores = cosines - torch.maximum(as_source[:, :, None], as_target[:, None, :])
    best, partner = scores.max(2)
    return best, partner


def choose(similarity: Tensor, sizes: Tensor, floor: Tensor, threshold: float) -> Tensor:
    """Which odd tokens are merged away, bool [n, length / 2].

    Where the floor allows fewer merges than the threshold, the most similar pairs are merged; a
    tie at the limit is not.
    """
    count = (sizes > 0).sum(1, keepdim=True)
    allowed = (count - floor[:, None]).clamp(0, similarity.shape[1])
    ranked = similarity.sort(1, descending=True).values
    ranked = torch.cat([ranked, torch.full_like(ranked[:, :1], -_NEVER)], 1)
    bar = ranked.gather(1, allowed)
    return (similarity > bar) & (similarity > threshold)


def combine(tokens: Tokens, merged: Tensor, partner: Tensor) -> Tokens:
    """Merge the odd tokens that were chosen into their partners and close the gaps.

    Args:
        tokens: see `merge_tokens`.
        merged: bool [n, length / 2], over the odd tokens.
        partner: int64 [n, length / 2], among the even tokens.
    """
    states, sizes, protection = tokens
    order, alive = _survivors(sizes > 0, merged)
    new_sizes = _absorb(sizes, merged, partner, "sum")
    new_protection = _absorb(protection, merged, partner, "amax")
    n, length, d = states.shape
    summed = _sum_states((states * sizes[:, :, None]).reshape(n * length, d), merged, partner)
    first = torch.arange(n, device=states.device)[:, None] * length
    kept_states = summed.index_select(0, (order + first).reshape(-1)).reshape(n, -1, d)
    kept_sizes = new_sizes.gather(1, order)
    return Tokens(
        kept_states / kept_sizes.clamp_min(1.0)[:, :, None],
        kept_sizes * alive,
        new_protection.gather(1, order) * alive,
    )


def _sum_states(weighted: Tensor, merged: Tensor, partner: Tensor) -> Tensor:
    """Add the merged odd rows of [n * length, d] to their partners' rows."""
    n, half = merged.shape
    index = torch.arange(n * half, device=merged.device).reshape(n, half)
    target = 2 * (index[:, :1] + partner)
    which = merged.reshape(-1).nonzero().squeeze(1)
    sources = weighted.index_select(0, 2 * which + 1)
    return weighted.index_put((target.reshape(-1)[which],), sources, accumulate=True)


def _survivors(real: Tensor, merged: Tensor) -> tuple[Tensor, Tensor]:
    """The old position of each kept token, [n, new length], and which are tokens, float."""
    n, length = real.shape
    even, odd = _even(real), _odd(real) & ~merged
    n_kept_before, n_kept = _places(real, merged)
    new_length = _even_length(n_kept, length)
    position = torch.arange(length, device=real.device).expand(n, length)
    slot = _join(n_kept_before * even, (n_kept_before + 1) * odd)
    # dropped tokens write 0 to slot 0, which holds position 0 anyway
    kept_position = position * _join(even, odd)
    order = position.new_zeros(n, new_length).scatter_reduce(1, slot, kept_position, "amax")
    alive = torch.arange(new_length, device=real.device) < n_kept
    return order, alive.float()


def _places(real: Tensor, merged: Tensor) -> tuple[Tensor, Tensor]:
    """How many tokens are kept before each pair [n, length / 2], and in each row [n, 1]."""
    per_pair = _even(real).long() + (_odd(real) & ~merged).long()
    return per_pair.cumsum(1) - per_pair, per_pair.sum(1, keepdim=True)


def _even_length(n_kept: Tensor, length: int) -> int:
    return min(2 * ((int(n_kept.max()) + 1) // 2), length)


def _absorb(values: Tensor, merged: Tensor, partner: Tensor, how: str) -> Tensor:
    """Reduce the merged odd values into their partners; [n, length] stays."""
    even, odd = _even(values), _odd(values)
    return _join(even.scatter_reduce(1, partner, odd * merged, how), odd)


def _even(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1, 2)[:, :, 0]


def _odd(x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1, 2)[:, :, 1]


def _join(even: Tensor, odd: Tensor) -> Tensor:
    return torch.stack([even, odd], 2).reshape(even.shape[0], -1)


def _split(states: Tensor) -> tuple[Tensor, Tensor]:
    """Even and odd rows of [n, length, d], each [n, length / 2, d]."""
    n, length, d = states.shape
    even, odd = torch.split(states.reshape(n, length // 2, 2 * d), d, 2)
    return even, odd


class SparseEncoder(nn.Module):
    """A `SentenceBert` that merges similar tokens on the way.

    Args:
        dense: stays as it is.
        gate: what to merge, and the weight changes, which are applied to a copy of ``dense``.

    Raises:
        ModelError: the gate was made for a different model.
    """

    rarity: Tensor

    def __init__(self, dense: SentenceBert, gate: GateFile) -> None:
        super().__init__()
        gate.check_fit(len(dense.layers), dense.word.num_embeddings)
        self.dense = changed(dense, gate.deltas)
        self.settings = gate.settings
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
        input_ids, mask = (
            functional.pad(x, (0, 1))[:, : (x.shape[1] + 1) // 2 * 2] for x in (input_ids, mask)
        )
        tokens = Tokens(self.dense.embed(input_ids), mask, self._protect(input_ids, mask))
        floor = self._floor(mask)
        active = bool((mask.sum(1) > floor).any())
        n_left = []
        for layer, threshold in zip(self.dense.layers, self.settings.thresholds, strict=True):
            tokens = tokens._replace(states=layer.attend(tokens.states, _bias(tokens)))
            if threshold is not None and active:
                tokens = merge_tokens(tokens, floor, threshold)
            n_left.append((tokens.sizes > 0).sum(1))
            tokens = tokens._replace(states=layer.feed(tokens.states))
        weights = tokens.sizes.unsqueeze(2)
        return (tokens.states * weights).sum(1) / weights.sum(1), torch.stack(n_left, 1)

    def _protect(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        rarity = self.rarity[input_ids].to(mask.dtype)
        return rarity * mask * (self.settings.protection / 255.0)

    def _floor(self, mask: Tensor) -> Tensor:
        """The least number of tokens that each row keeps, int64 [n]: a short text keeps all."""
        n_tokens = mask.sum(1)
        floor = (n_tokens * self.settings.floor).ceil()
        return torch.where(n_tokens < self.settings.min_tokens, n_tokens, floor).long()


def changed(network: SentenceBert, deltas: Deltas) -> SentenceBert:
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


def _bias(tokens: Tokens) -> Tensor:
    """Proportional attention (Bolya et al. 2023): a token of size s has the weight of s tokens."""
    lowest = torch.finfo(tokens.states.dtype).min
    # a real token's size is at least 1
    logs = torch.where(tokens.sizes > 0, tokens.sizes.clamp_min(1.0).log(), lowest)
    return logs[:, None, None, :]
