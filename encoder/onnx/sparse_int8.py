"""The sparse forward in int8: the gates in the graph of `encoder.onnx.int8_bert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from encoder.dsre.deltas import added
from encoder.dsre.gatefile import GateFile
from encoder.onnx.bert import Bert
from encoder.onnx.graph import MICROSOFT
from encoder.onnx.int8_bert import Array32, Int8Bert
from encoder.onnx.merge_tokens import (
    DOMAIN,
    FUNCTION,
    lay_even,
    lay_limits,
    lay_log_sizes,
    merge_function,
)

_FLOAT = 1
"""ONNX's code for this type."""

_LOWEST = -1e30
"""A logit that has no weight, and stays finite when another logit is added."""


def quantize_sparse(bert: Bert, gate: GateFile, target: Path) -> None:
    """Write the int8 form of a sentence encoder that merges tokens, for ONNX Runtime only.

    Inputs and outputs are those of `SparseEncoder.forward`, but the numbers of tokens are float32.

    Args:
        bert: the network in float32, with mean pooling.
        gate: made for it.
        target: the ``.onnx`` file to write.

    Raises:
        ModelError: the gate was made for a different network.
    """
    gate.check_fit(bert.size.n_layers, bert.size.vocab_size)
    changed = replace(bert, weights=added(bert.weights, gate.deltas))
    _SparseInt8Bert(changed, gate).save(target)


class _SparseInt8Bert(Int8Bert):
    def __init__(self, bert: Bert, gate: GateFile) -> None:
        self._gate = gate
        self._kept: list[str] = []
        self._merged = False
        self._head_dim = bert.size.hidden_dim // bert.size.n_heads
        super().__init__(bert)
        self._functions = [merge_function(bert.size.hidden_dim)]

    def _begin(self) -> None:
        graph = self._graph
        self._input_ids, self._float_mask = (
            lay_even(graph, name) for name in (self._input_ids, self._float_mask)
        )
        super()._begin()
        self._sizes = self._float_mask
        self._protection, self._floor, self._active = lay_limits(
            graph, self._gate, self._input_ids, self._sizes
        )

    def _between(self, i: int, unscaled: str, states: str) -> tuple[str, str]:
        threshold = self._gate.settings.thresholds[i]
        if threshold is not None:
            unscaled, states = self._merge(i, states, threshold)
        real = self._graph.add("Greater", self._sizes, self._graph.constant(np.float32(0)))
        counts = self._graph.add("Cast", real, to=_FLOAT)
        self._kept.append(self._graph.add("ReduceSum", counts, self._graph.ints(1), keepdims=1))
        return unscaled, states

    def _merge(self, i: int, states: str, threshold: float) -> tuple[str, str]:
        """Merge the norm's outputs; their means are means of the unscaled states too."""
        graph, weights, at = self._graph, self._weights, f"layers.{i}."
        carried = graph.constant(weights[at + "ffn_out.bias"])
        normed = graph.add("Reshape", graph.add("Sub", states, carried), self._per_text)
        tokens = (normed, self._sizes, self._protection)
        limits = (self._floor, graph.constant(np.float32(threshold)), self._active)
        merged, self._sizes, self._protection = graph.add_many(
            FUNCTION, 3, *tokens, *limits, domain=DOMAIN
        )
        self._merged = True
        self._lay_shapes(self._sizes)
        self._lay_log_sizes()
        merged = graph.add("Reshape", merged, self._flat)
        scale, shift = weights[at + "attention_norm.weight"], weights[at + "attention_norm.bias"]
        unscaled = graph.add("Mul", merged, graph.constant(1 / scale))
        unscaled = graph.add("Add", unscaled, graph.constant(-shift / scale))
        return unscaled, graph.add("Add", merged, carried)

    def _lay_log_sizes(self) -> None:
        """The extra column of keys, see `_mix`; [n, length, n_heads, 1]."""
        graph = self._graph
        row = lay_log_sizes(graph, self._sizes, _LOWEST)
        row = graph.add("Mul", row, graph.constant(np.float32(self._head_dim**0.5)))
        shape = graph.add("Concat", graph.add("Shape", row), graph.ints(self._n_heads, 1), axis=0)
        self._log_sizes = graph.add("Expand", graph.add("Unsqueeze", row, graph.ints(2, 3)), shape)

    def _mix(self, parts: Sequence[str], biases: Sequence[Array32]) -> str:
        """Proportional attention, see `encoder.dsre.network`.

        The logarithm of a token's size is an extra column of its keys, and all queries have a 1
        there. With a bias on the logits instead, ONNX Runtime would not block attention for the
        cache.
        """
        if not self._merged:
            return super()._mix(parts, biases)
        graph, n_heads = self._graph, self._n_heads
        heads = graph.ints(0, 0, n_heads, self._head_dim)
        queries, keys = (graph.add("Reshape", part, heads) for part in parts[:2])
        queries = graph.add("Pad", queries, graph.ints(*[0] * 7, 1))
        keys = graph.add("Concat", keys, self._log_sizes, axis=3)
        joined = graph.ints(0, 0, n_heads * (self._head_dim + 1))
        wide = [graph.add("Reshape", part, joined) for part in (queries, keys)]
        bias = [_widened(biases[0], n_heads, 1), _widened(biases[1], n_heads, 0), biases[2]]
        return graph.add(
            "MultiHeadAttention",
            *wide,
            parts[2],
            graph.constant(np.concatenate(bias)),
            domain=MICROSOFT,
            num_heads=n_heads,
            scale=self._head_dim**-0.5,
        )

    def _outputs(self, states: str) -> dict[str, tuple[str, tuple[str | int, ...]]]:
        kept = self._graph.add("Concat", *self._kept, axis=1)
        return {**super()._outputs(states), "kept": (kept, ("n", self._n_layers))}

    def _pool(self, states: str) -> str:
        self._float_mask = self._sizes
        return super()._pool(states)


def _widened(bias: Array32, n_heads: int, more: float) -> Array32:
    """A bias [n_heads * d] with one more value for each head."""
    return np.pad(bias.reshape(n_heads, -1), ((0, 0), (0, 1)), constant_values=more).reshape(-1)
