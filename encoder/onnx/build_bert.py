"""The text network as an ONNX graph: a BERT encoder with mean pooling, in float32 or int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.dsre.gatefile import GateFile
from encoder.onnx.bert import INPUTS, Bert, look_up_packed
from encoder.onnx.graph import Graph
from encoder.onnx.int8_bert import Int8Layers
from encoder.onnx.merge_tokens import MergeStep, floor_of, protection_of

_FLOAT = 1
"""ONNX's code for this type."""

_LOWEST = float(np.finfo(np.float32).min)
"""Added to an attention logit, it leaves no weight."""


def write_bert(
    bert: Bert, target: Path, *, int8: bool = False, gate: GateFile | None = None
) -> None:
    """Write the encoder: `INPUTS` give ``pooled`` float32 [n, hidden_dim], not normalised.

    Args:
        bert: the network in float32; a gate's changes of weights are already added.
        target: the ``.onnx`` file to write.
        int8: see `encoder.onnx.int8_bert`, for ONNX Runtime only. Otherwise the graph has standard
            operators only, one for each step of the network.
        gate: which tokens merge, in int8; a graph in float32 is rewritten by
            `encoder.onnx.merging`. There is a second output then: ``kept`` float32 [n, n_layers],
            the number of tokens after each layer's attention.
    """
    graph, size = Graph(), bert.size
    input_ids, sizes = INPUTS
    layers = Int8Layers(graph, bert) if int8 else _FloatLayers(graph, bert)
    layers.begin(input_ids, sizes)
    step, counts = None, []
    if gate and isinstance(layers, Int8Layers):
        protection = protection_of(graph, gate.rarity, gate.settings.protection, input_ids)
        step, floor = (
            MergeStep(graph, sizes, protection),
            floor_of(graph, sizes, gate.settings.floor),
        )
    layers.embed(input_ids)
    for i in range(size.n_layers):
        layers.attend(i)
        if step and gate and isinstance(layers, Int8Layers):
            if (threshold := gate.settings.thresholds[i]) is not None:
                layers.merge(i, step, floor, threshold)
            counts.append(step.count())
        layers.feed(i)
    outputs: dict[str, tuple[str, tuple[str | int, ...]]]
    outputs = {"pooled": (layers.pool(step.sizes if step else sizes), ("n", size.hidden_dim))}
    if step:
        kept = graph.add("Cast", graph.add("Concat", *counts, axis=1), to=_FLOAT)
        outputs["kept"] = (kept, ("n", size.n_layers))
    inputs = {name: (dtype, ("n", "length")) for name, dtype in INPUTS.items()}
    graph.save(target, inputs, outputs)


class _FloatLayers:
    """The network's parts, which keep the states of the tokens, [n, length, hidden_dim].

    `begin` lays what depends on the inputs, both [n, length], where padding has a size of 0.
    `attend` and `feed` are the halves of a layer, with residual and norm. `pool` gives the mean
    weighted by sizes. `Int8Layers` has the same.
    """

    def __init__(self, graph: Graph, bert: Bert) -> None:
        self._graph, self._bert = graph, bert
        n_heads = bert.size.n_heads
        self._head_dim = bert.size.hidden_dim // n_heads
        # 0 keeps the batch and the length
        self._split = graph.ints(0, 0, n_heads, self._head_dim)
        self._joined = graph.ints(0, 0, bert.size.hidden_dim)
        # both sides are scaled by its root, so that no product of large numbers overflows
        self._scale = graph.constant(np.float32(self._head_dim**-0.25))
        self._states = ""

    def begin(self, input_ids: str, sizes: str) -> None:  # noqa: ARG002
        graph = self._graph
        padding = graph.add("Sub", graph.constant(np.float32(1)), sizes)
        bias = graph.add("Mul", padding, graph.constant(np.float32(_LOWEST)))
        self._bias = graph.add("Unsqueeze", bias, graph.ints(1, 2))

    def embed(self, input_ids: str) -> None:
        graph, weights = self._graph, self._bert.weights
        if self._bert.words is not None:
            words = look_up_packed(graph, self._bert.words, input_ids)
        else:
            table = graph.constant(weights["word.weight"], "word.weight")
            words = graph.add("Gather", table, input_ids)
        positions = weights["position.weight"] + weights["token_type.weight"][0]
        table = graph.constant(positions, "position.weight")
        length = graph.add("Shape", input_ids, start=1, end=2)
        rows = graph.add("Slice", table, graph.ints(0), length, graph.ints(0))
        self._states = self._norm(graph.add("Add", words, rows), "norm")

    def attend(self, i: int) -> None:
        graph, states, at = self._graph, self._states, f"layers.{i}."
        queries = self._heads(self._linear(states, at + "query"), (0, 2, 1, 3))
        keys = self._heads(self._linear(states, at + "key"), (0, 2, 3, 1))
        values = self._heads(self._linear(states, at + "value"), (0, 2, 1, 3))
        queries, keys = (graph.add("Mul", x, self._scale) for x in (queries, keys))
        logits = graph.add("Add", graph.add("MatMul", queries, keys), self._bias)
        mixed = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), values)
        mixed = graph.add("Transpose", mixed, perm=(0, 2, 1, 3))
        gathered = self._linear(graph.add("Reshape", mixed, self._joined), at + "attention_out")
        self._states = self._norm(graph.add("Add", states, gathered), at + "attention_norm")

    def feed(self, i: int) -> None:
        graph, at = self._graph, f"layers.{i}."
        inner = graph.add("Gelu", self._linear(self._states, at + "ffn_in"))
        fed = self._linear(inner, at + "ffn_out")
        self._states = self._norm(graph.add("Add", self._states, fed), at + "ffn_norm")

    def pool(self, sizes: str) -> str:
        graph = self._graph
        weighted = graph.add("Mul", self._states, graph.add("Unsqueeze", sizes, graph.ints(2)))
        total = graph.add("ReduceSum", weighted, graph.ints(1), keepdims=0)
        return graph.add("Div", total, graph.add("ReduceSum", sizes, graph.ints(1), keepdims=1))

    def _heads(self, states: str, order: tuple[int, ...]) -> str:
        split = self._graph.add("Reshape", states, self._split)
        return self._graph.add("Transpose", split, perm=order)

    def _linear(self, states: str, layer: str) -> str:
        graph, weights = self._graph, self._bert.weights
        weight = graph.constant(weights[layer + ".weight"].T, layer + ".weight")
        bias = graph.constant(weights[layer + ".bias"], layer + ".bias")
        return graph.add("Add", graph.add("MatMul", states, weight), bias)

    def _norm(self, states: str, layer: str) -> str:
        graph, weights = self._graph, self._bert.weights
        names = (f"{layer}.weight", f"{layer}.bias")
        scale, shift = (graph.constant(weights[name], name) for name in names)
        eps = self._bert.size.norm_eps
        return graph.add("LayerNormalization", states, scale, shift, axis=-1, epsilon=eps)
