"""A BERT text encoder with mean pooling, as arrays and as a graph; see `encoder.networks.bert`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import Graph
from encoder.onnx.packed import PackedTable, lay_rows

Array32 = NDArray[np.float32]
Value = TypeVar("Value")

INPUTS = {"input_ids": np.int64, "mask": np.float32}
"""What the graph takes: token ids, and 1 for a token, 0 for padding; [n, length]."""

LOWEST = float(np.finfo(np.float32).min)
"""Added to an attention logit, it leaves no weight."""


@dataclass(frozen=True)
class BertSize:
    """The numbers that define the architecture; the defaults are those of MiniLM-L6-H384.

    >>> BertSize(n_layers=12).n_layers
    12
    """

    vocab_size: int = 30522
    n_positions: int = 512
    hidden_dim: int = 384
    ffn_dim: int = 1536
    n_layers: int = 6
    n_heads: int = 12
    norm_eps: float = 1e-12


@dataclass(frozen=True, eq=False)
class Bert:
    """A text encoder's size and weights.

    Args:
        size: of the architecture.
        weights: by the names of `encoder.networks.bert.SentenceBert`; a linear layer's weight is
            [n_out, n_in].
        words: the token table if it is packed; otherwise it is among the weights.
    """

    size: BertSize
    weights: Mapping[str, Array32]
    words: PackedTable | None = None


def read_bert(folder: Path) -> Bert:
    """Read ``config.json`` and ``model.safetensors`` of ``folder``."""
    from safetensors.numpy import load_file

    size = read_size(folder / "config.json")
    return Bert(size, rename_weights(load_file(folder / "model.safetensors"), size.n_layers))


def read_size(config_path: Path) -> BertSize:
    """Read the architecture's numbers from a Hugging Face ``config.json``."""
    config = json.loads(config_path.read_text("utf-8"))
    return BertSize(
        vocab_size=config["vocab_size"],
        n_positions=config["max_position_embeddings"],
        hidden_dim=config["hidden_size"],
        ffn_dim=config["intermediate_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        norm_eps=config["layer_norm_eps"],
    )


_TOP_NAMES = {
    "embeddings.word_embeddings": "word",
    "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "token_type",
    "embeddings.LayerNorm": "norm",
}
_LAYER_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
    "output.LayerNorm": "ffn_norm",
}


def rename_weights(checkpoint: Mapping[str, Value], n_layers: int) -> dict[str, Value]:
    """Map a BERT checkpoint's names to those of `Bert`; the rest (pooler) is left out."""
    modules = dict(_TOP_NAMES)
    for i in range(n_layers):
        modules |= {
            f"encoder.layer.{i}.{old}": f"layers.{i}.{new}" for old, new in _LAYER_NAMES.items()
        }
    return {
        f"{new}.{kind}": checkpoint[f"{old}.{kind}"]
        for old, new in modules.items()
        for kind in ("weight", "bias")
        if f"{old}.{kind}" in checkpoint
    }


def lay_bert(bert: Bert, target: Path) -> None:
    """Write the encoder: `INPUTS` give ``pooled`` float32 [n, hidden_dim], not normalised.

    Standard operators only, one for each step of the network.

    Args:
        bert: the network.
        target: the ``.onnx`` file to write.
    """
    graph = Graph()
    network = BertGraph(graph, bert)
    padding = graph.add("Sub", graph.constant(np.float32(1)), "mask")
    bias = graph.add("Mul", padding, graph.constant(np.float32(LOWEST)))
    bias = graph.add("Unsqueeze", bias, graph.ints(1, 2))
    states = network.embed("input_ids")
    for i in range(bert.size.n_layers):
        states = network.feed(i, network.attend(i, states, bias))
    outputs = {"pooled": (network.pool(states, "mask"), ("n", bert.size.hidden_dim))}
    graph.save(target, {name: (kind, ("n", "length")) for name, kind in INPUTS.items()}, outputs)


class BertGraph:
    """Builds the parts of the network; states are [n, length, hidden_dim]."""

    def __init__(self, graph: Graph, bert: Bert) -> None:
        self._graph, self._bert = graph, bert
        n_heads = bert.size.n_heads
        self._head_dim = bert.size.hidden_dim // n_heads
        # 0 keeps the batch and the length
        self._split = graph.ints(0, 0, n_heads, self._head_dim)
        self._joined = graph.ints(0, 0, bert.size.hidden_dim)
        # both sides are scaled by its root, so that no product of large numbers overflows
        self._scale = graph.constant(np.float32(self._head_dim**-0.25))

    def embed(self, input_ids: str) -> str:
        """Token ids [n, length] to the states that enter the first layer."""
        graph, weights = self._graph, self._bert.weights
        words = self._look_up(input_ids)
        places = weights["position.weight"] + weights["token_type.weight"][0]
        length = graph.add("Shape", input_ids, start=1, end=2)
        places = graph.add(
            "Slice", graph.constant(places, "position.weight"), graph.ints(0), length, graph.ints(0)
        )
        return self._norm(graph.add("Add", words, places), "norm")

    def attend(self, i: int, states: str, bias: str) -> str:
        """Attention with its residual and norm; ``bias`` is added to the logits."""
        graph, at = self._graph, f"layers.{i}."
        queries = self._heads(self._linear(states, at + "query"), (0, 2, 1, 3))
        keys = self._heads(self._linear(states, at + "key"), (0, 2, 3, 1))
        values = self._heads(self._linear(states, at + "value"), (0, 2, 1, 3))
        queries, keys = (graph.add("Mul", x, self._scale) for x in (queries, keys))
        logits = graph.add("Add", graph.add("MatMul", queries, keys), bias)
        mixed = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), values)
        mixed = graph.add("Transpose", mixed, perm=(0, 2, 1, 3))
        gathered = self._linear(graph.add("Reshape", mixed, self._joined), at + "attention_out")
        return self._norm(graph.add("Add", states, gathered), at + "attention_norm")

    def feed(self, i: int, states: str) -> str:
        """The feed-forward net with its residual and norm."""
        graph, at = self._graph, f"layers.{i}."
        inner = graph.add("Gelu", self._linear(states, at + "ffn_in"))
        fed = self._linear(inner, at + "ffn_out")
        return self._norm(graph.add("Add", states, fed), at + "ffn_norm")

    def pool(self, states: str, sizes: str) -> str:
        """The mean of the states, weighted by ``sizes`` [n, length]; [n, hidden_dim]."""
        graph = self._graph
        heavy = graph.add("Mul", states, graph.add("Unsqueeze", sizes, graph.ints(2)))
        total = graph.add("ReduceSum", heavy, graph.ints(1), keepdims=0)
        return graph.add("Div", total, graph.add("ReduceSum", sizes, graph.ints(1), keepdims=1))

    def _look_up(self, input_ids: str) -> str:
        graph, packed = self._graph, self._bert.words
        if packed is not None:
            return lay_rows(graph, packed, input_ids)
        table = graph.constant(self._bert.weights["word.weight"], "word.weight")
        return graph.add("Gather", table, input_ids)

    def _heads(self, states: str, order: tuple[int, ...]) -> str:
        return self._graph.add(
            "Transpose", self._graph.add("Reshape", states, self._split), perm=order
        )

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
