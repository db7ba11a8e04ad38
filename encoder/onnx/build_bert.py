"""The text network as an ONNX graph: a BERT encoder with mean pooling, in float32.

`encoder.onnx.quantize` makes it int8, `encoder.onnx.merging` lets its tokens merge. For int8 the
states carry the bias of the next layer's ``attention_out``, and a norm's scale and shift are in the
weights of ``ffn_in``: before them outliers are milder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.onnx.bert import INPUTS, Array32, Bert, look_up_packed
from encoder.onnx.graph import Graph

_LOWEST = float(np.finfo(np.float32).min)
"""Added to an attention logit, it leaves no weight."""


def write_bert(bert: Bert, target: Path) -> None:
    """Write the encoder: `INPUTS` give ``pooled`` float32 [n, hidden_dim], not normalised.

    Args:
        bert: the network; a gate's changes of weights are already added.
        target: the ``.onnx`` file to write; it has standard operators only.
    """
    graph, size = Graph(), bert.size
    layers = _Layers(graph, bert)
    for i in range(size.n_layers):
        layers.attend(i)
        layers.feed(i)
    inputs = {name: (dtype, ("n", "length")) for name, dtype in INPUTS.items()}
    graph.save(target, inputs, {"pooled": (layers.pool(), ("n", size.hidden_dim))})


class _Layers:
    """The network's parts, which keep the states of the tokens, [n, length, hidden_dim]."""

    def __init__(self, graph: Graph, bert: Bert) -> None:
        self._graph, self._bert = graph, bert
        n_heads = bert.size.n_heads
        self._head_dim = bert.size.hidden_dim // n_heads
        # 0 keeps the batch and the length
        self._split = graph.ints(0, 0, n_heads, self._head_dim)
        self._joined = graph.ints(0, 0, bert.size.hidden_dim)
        # both sides are scaled by its root, so that no product of large numbers overflows
        self._scale = graph.constant(np.float32(self._head_dim**-0.25))
        self._input_ids, self._sizes = INPUTS
        padding = graph.add("Sub", graph.constant(np.float32(1)), self._sizes)
        bias = graph.add("Mul", padding, graph.constant(np.float32(_LOWEST)))
        self._bias = graph.add("Unsqueeze", bias, graph.ints(1, 2))
        self._states = self._embedded()

    def _embedded(self) -> str:
        graph, weights = self._graph, self._bert.weights
        if self._bert.words is not None:
            words = look_up_packed(graph, self._bert.words, self._input_ids)
        else:
            table = graph.constant(weights["word.weight"], "word.weight")
            words = graph.add("Gather", table, self._input_ids)
        positions = weights["position.weight"] + weights["token_type.weight"][0]
        table = graph.constant(positions, "position.weight")
        length = graph.add("Shape", self._input_ids, start=1, end=2)
        rows = graph.add("Slice", table, graph.ints(0), length, graph.ints(0))
        return self._norm(graph.add("Add", words, rows), "norm", self._carried(0))

    def _carried(self, i: int) -> Array32:
        """The bias that the states carry into layer i."""
        zeros = np.zeros(self._bert.size.hidden_dim, np.float32)
        return self._bert.weights.get(f"layers.{i}.attention_out.bias", zeros)

    def attend(self, i: int) -> None:
        """The first half of a layer."""
        graph, weights, states, at = self._graph, self._bert.weights, self._states, f"layers.{i}."
        turned = {"query": (0, 2, 1, 3), "key": (0, 2, 3, 1), "value": (0, 2, 1, 3)}
        heads = {}
        for name, order in turned.items():
            weight = weights[f"{at}{name}.weight"]
            bias = weights[f"{at}{name}.bias"] - weight @ self._carried(i)
            rows = self._linear(states, f"{at}{name}", weight, bias)
            heads[name] = graph.add(
                "Transpose", graph.add("Reshape", rows, self._split), perm=order
            )
        queries, keys = (graph.add("Mul", heads[x], self._scale) for x in ("query", "key"))
        logits = graph.add("Add", graph.add("MatMul", queries, keys), self._bias)
        mixed = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), heads["value"])
        mixed = graph.add("Transpose", mixed, perm=(0, 2, 1, 3))
        mixed = graph.add("Reshape", mixed, self._joined)
        gathered = self._linear(mixed, at + "attention_out", weights[at + "attention_out.weight"])
        self._states = self._norm(graph.add("Add", states, gathered), at + "attention_norm")

    def feed(self, i: int) -> None:
        """The second half of a layer."""
        graph, weights, at = self._graph, self._bert.weights, f"layers.{i}."
        scale, shift = (weights[f"{at}attention_norm.{name}"] for name in ("weight", "bias"))
        unscaled = graph.add("Mul", self._states, graph.constant(1 / scale))
        unscaled = graph.add("Add", unscaled, graph.constant(-shift / scale))
        weight = weights[at + "ffn_in.weight"]
        bias = weights[at + "ffn_in.bias"] + weight @ shift
        inner = graph.add("Gelu", self._linear(unscaled, at + "ffn_in", weight * scale, bias))
        out = [weights[f"{at}ffn_out.{name}"] for name in ("weight", "bias")]
        fed = graph.add("Add", self._states, self._linear(inner, at + "ffn_out", *out))
        self._states = self._norm(fed, at + "ffn_norm", self._carried(i + 1))

    def pool(self) -> str:
        """The mean of the states, weighted by the inputs' mask."""
        graph, sizes = self._graph, self._sizes
        weighted = graph.add("Mul", self._states, graph.add("Unsqueeze", sizes, graph.ints(2)))
        total = graph.add("ReduceSum", weighted, graph.ints(1), keepdims=0)
        return graph.add("Div", total, graph.add("ReduceSum", sizes, graph.ints(1), keepdims=1))

    def _linear(self, states: str, name: str, weight: Array32, bias: Array32 | None = None) -> str:
        graph = self._graph
        product = graph.add("MatMul", states, graph.constant(weight.T, name + ".weight"))
        return product if bias is None else graph.add("Add", product, graph.constant(bias))

    def _norm(self, states: str, layer: str, carried: Array32 | float = 0.0) -> str:
        graph, weights = self._graph, self._bert.weights
        scale = graph.constant(weights[layer + ".weight"])
        shift = graph.constant(weights[layer + ".bias"] + np.float32(carried))
        eps = self._bert.size.norm_eps
        return graph.add("LayerNormalization", states, scale, shift, axis=-1, epsilon=eps)
