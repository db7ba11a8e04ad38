"""A hub model's text network with a gate: long texts with fewer tokens from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.fitting.cost import dense_flops, sparse_flops
from encoder.towers.text.stats import TextStats, is_counted, pass_on

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.dsre.gatefile import GateFile
    from encoder.dsre.network import Pooling, SparseEncoder

Features = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TextNetwork:
    """The parts of a sentence-transformers model that embeds texts.

    Args:
        whole: the model, as it runs without a gate.
        transformer: its BERT-like network.
        pooling: how that network's last layer becomes one vector.
        rest: what comes after the pooling, such as a norm.
    """

    whole: Callable[..., Any]
    transformer: nn.Module
    pooling: Pooling
    rest: Sequence[nn.Module]


class MergingForward:
    """A sentence encoder's forward; short texts take the network as it is.

    Args:
        network: the model's parts.
        gate: fitted to its transformer.

    Raises:
        ModelError: the gate was made for another network.
    """

    def __init__(self, network: TextNetwork, gate: GateFile) -> None:
        from encoder.dsre.network import SparseEncoder

        self._network = network
        self._gate = gate
        sparse = SparseEncoder(network.transformer, gate, pooling=network.pooling)
        self._sparse = sparse.eval()
        self._lock = Lock()  # of the timed network's clock

    def __call__(self, features: Features, **options: Any) -> dict[str, Tensor]:
        """What the model does with features: its ``sentence_embedding``, [n, embed_dim]."""
        import torch

        n_tokens = features["attention_mask"].sum(1)
        long = n_tokens >= self._gate.settings.min_tokens
        if not long.any() and not is_counted():
            return {"sentence_embedding": self._dense(features, options)}
        shape = self._sparse.blocks.shape
        kept = n_tokens[:, None].repeat(1, shape.n_layers)
        parts, gate_ms = [], np.zeros(len(long))
        if not long.all():
            parts.append(self._dense(_rows(features, ~long, n_tokens), options))
        if long.any():
            merged, kept[long], spent_ms = self._merge(_rows(features, long, n_tokens))
            parts.append(merged)
            gate_ms[long.cpu().numpy()] = spent_ms / int(long.sum())
        if is_counted():
            self._pass_on(n_tokens.cpu().numpy(), kept.cpu().numpy(), gate_ms)
        order = torch.cat([(~long).nonzero(), long.nonzero()]).squeeze(1)
        return {"sentence_embedding": torch.cat(parts)[order.argsort()]}

    def _dense(self, features: Features, options: Mapping[str, Any]) -> Tensor:
        embedding: Tensor = self._network.whole(dict(features), **options)["sentence_embedding"]
        return embedding

    def _merge(self, features: Features) -> tuple[Tensor, Tensor, float]:
        """Embeddings, kept tokens, and the milliseconds of the gate if somebody asks."""
        mask = features["attention_mask"].float()
        if is_counted():
            with self._lock:
                timed = self._timed
                timed.gate_s = 0.0
                pooled, kept = timed(features["input_ids"], mask)
                spent_ms = 1000 * timed.gate_s
        else:
            pooled, kept = self._sparse(features["input_ids"], mask)
            spent_ms = 0.0
        found: dict[str, Any] = {"sentence_embedding": pooled}
        for module in self._network.rest:
            found = module(found)
        return found["sentence_embedding"], kept, spent_ms

    @cached_property
    def _timed(self) -> Any:
        """The same network, which also counts what its gates take."""
        from encoder.dsre.network import SparseEncoder

        class Timed(SparseEncoder):
            gate_s = 0.0

            def _merge(self, *arguments: Any) -> Any:
                started = perf_counter()
                tokens = super()._merge(*arguments)
                self.gate_s += perf_counter() - started
                return tokens

        network = self._network
        return Timed(network.transformer, self._gate, pooling=network.pooling).eval()

    def _pass_on(
        self, n_tokens: NDArray[np.int64], kept: NDArray[np.int64], gate_ms: NDArray[np.float64]
    ) -> None:
        sparse: SparseEncoder = self._sparse
        shape, settings = sparse.blocks.shape, self._gate.settings
        gated = [threshold is not None for threshold in settings.thresholds]
        cls_only = self._network.pooling == "cls"
        dense = dense_flops(shape, n_tokens)
        merged = sparse_flops(shape, n_tokens, kept, gated=gated, cls_only=cls_only)
        flops = np.where(n_tokens < settings.min_tokens, dense, merged)
        pass_on(TextStats(n_tokens, kept, dense, flops, gate_ms))


def _rows(features: Features, which: Tensor, n_tokens: Tensor) -> dict[str, Any]:
    """Some of the texts, without the padding that only the others needed."""
    from torch import Tensor

    longest = int(n_tokens[which].max())
    shape = features["input_ids"].shape
    return {
        name: value[which][:, :longest]
        if isinstance(value, Tensor) and value.shape == shape
        else value
        for name, value in features.items()
    }
