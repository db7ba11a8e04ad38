"""The sparse forward of a BERT encoder in float32, as a graph built from arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from encoder.dsre.deltas import added
from encoder.dsre.gatefile import GateFile
from encoder.onnx.bert import INPUTS, LOWEST, Bert, BertGraph
from encoder.onnx.graph import Graph
from encoder.onnx.merge_tokens import (
    DOMAIN,
    FUNCTION,
    lay_even,
    lay_limits,
    lay_log_sizes,
    merge_function,
)


def lay_sparse_bert(bert: Bert, gate: GateFile, target: Path) -> None:
    """Write the encoder that merges tokens; inputs and outputs are those of `SparseEncoder`.

    Args:
        bert: the network, with mean pooling.
        gate: made for it.
        target: the ``.onnx`` file to write.

    Raises:
        ModelError: the gate was made for a different network.
    """
    size = bert.size
    gate.check_fit(size.n_layers, size.vocab_size)
    bert = replace(bert, weights=added(bert.weights, gate.deltas))
    graph = Graph()
    network = BertGraph(graph, bert)
    input_ids, sizes = (lay_even(graph, name) for name in INPUTS)
    protection, floor, active = lay_limits(graph, gate, input_ids, sizes)
    states = network.embed(input_ids)
    bias, kept = _bias(graph, sizes), []
    for i, threshold in enumerate(gate.settings.thresholds):
        states = network.attend(i, states, bias)
        if threshold is not None:
            limits = (floor, graph.constant(np.float32(threshold)), active)
            states, sizes, protection = graph.add_many(
                FUNCTION, 3, states, sizes, protection, *limits, domain=DOMAIN
            )
            bias = _bias(graph, sizes)
        real = graph.add("Greater", sizes, graph.constant(np.float32(0)))
        counts = graph.add("Cast", real, to=1)
        kept.append(graph.add("ReduceSum", counts, graph.ints(1), keepdims=1))
        states = network.feed(i, states)
    outputs = {
        "pooled": (network.pool(states, sizes), ("n", size.hidden_dim)),
        "kept": (graph.add("Concat", *kept, axis=1), ("n", size.n_layers)),
    }
    inputs = {name: (kind, ("n", "length")) for name, kind in INPUTS.items()}
    graph.save(target, inputs, outputs, [merge_function(size.hidden_dim)])


def _bias(graph: Graph, sizes: str) -> str:
    return graph.add("Unsqueeze", lay_log_sizes(graph, sizes, LOWEST), graph.ints(1, 2))
