"""The sparse forward in int8: the gates in the graph of `encoder.quant.dynamic`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.dsre.deltas import changed
from encoder.dsre.export import DOMAIN, FUNCTION, define_gate
from encoder.dsre.gatefile import GateFile
from encoder.quant.dynamic import Int8Bert
from encoder.quant.graph import MICROSOFT

if TYPE_CHECKING:
    from encoder.networks.bert import SentenceBert

_FLOAT, _INT32, _INT64, _BOOL = 1, 6, 7, 9
"""ONNX's numbers for these types."""

_LOWEST = np.float32(-1e30)
"""A logit that weighs nothing, and stays finite when another one is added."""


def quantize_sparse(model: SentenceBert, gate: GateFile, target: Path) -> None:
    """Write the int8 form of a sentence encoder that merges tokens, for ONNX Runtime only.

    Inputs are those of `SparseEncoder.forward`, outputs too, but the tokens kept are float32.

    Args:
        model: the network in float32, with mean pooling.
        gate: made for it.
        target: the ``.onnx`` file to write.
    """
    import onnx
    from onnx import helper

    from encoder.dsre.network import SparseEncoder

    SparseEncoder(model, gate)  # raises if the gate is for another network
    graph = _SparseInt8Bert(changed(model, gate.deltas), gate)
    graph.save(target)
    made = onnx.load(target)
    made.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    define_gate(made, model.norm.normalized_shape[0])
    onnx.save(made, target)


class _SparseInt8Bert(Int8Bert):
    def __init__(self, model: SentenceBert, gate: GateFile) -> None:
        self._gate = gate
        self._kept: list[str] = []
        self._merged = False
        super().__init__(model)

    def _begin(self) -> None:
        self._input_ids, self._float_mask = self._even("input_ids"), self._even("mask")
        super()._begin()
        graph, settings = self._graph, self._gate.settings
        self._sizes = self._float_mask
        rarity = graph.add("Gather", graph.constant(self._gate.rarity), self._input_ids)
        share = graph.constant(np.float32(settings.protection / 255.0))
        weighted = graph.add("Mul", graph.add("Cast", rarity, to=_FLOAT), share)
        self._protection = graph.add("Mul", weighted, self._sizes)
        n_tokens = graph.add("ReduceSum", self._sizes, graph.ints(1), keepdims=0)
        share = graph.add("Mul", n_tokens, graph.constant(np.float32(settings.floor)))
        short = graph.add("Less", n_tokens, graph.constant(np.float32(settings.min_tokens)))
        floor = graph.add("Where", short, n_tokens, graph.add("Ceil", share))
        longer = graph.add("Cast", graph.add("Greater", n_tokens, floor), to=_INT32)
        self._active = graph.add("Cast", graph.add("ReduceMax", longer, keepdims=0), to=_BOOL)
        self._floor = graph.add("Cast", floor, to=_INT64)

    def _even(self, name: str) -> str:
        """Pad [n, length] with one 0 if its length is odd."""
        graph = self._graph
        odd = graph.add("Mod", graph.add("Shape", name, start=1, end=2), graph.ints(2))
        pads = graph.add("Concat", graph.ints(0, 0, 0), odd, axis=0)
        return graph.add("Pad", name, pads)

    def _between(self, i: int, unscaled: str, states: str) -> tuple[str, str]:
        threshold = self._gate.settings.thresholds[i]
        if threshold is not None:
            unscaled, states = self._merge(i, states, threshold)
        real = self._graph.add("Greater", self._sizes, self._graph.constant(np.float32(0)))
        counts = self._graph.add("Cast", real, to=_FLOAT)
        self._kept.append(self._graph.add("ReduceSum", counts, self._graph.ints(1), keepdims=1))
        return unscaled, states

    def _merge(self, i: int, states: str, threshold: float) -> tuple[str, str]:
        """Merge what the norm gave; means of it are means of the unscaled states too."""
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
        self._lay_bias()
        merged = graph.add("Reshape", merged, self._flat)
        scale, shift = weights[at + "attention_norm.weight"], weights[at + "attention_norm.bias"]
        unscaled = graph.add("Mul", merged, graph.constant(1 / scale))
        unscaled = graph.add("Add", unscaled, graph.constant(-shift / scale))
        return unscaled, graph.add("Add", merged, carried)

    def _lay_bias(self) -> None:
        """Proportional attention, see `encoder.dsre.network`; [n, 1, length, length]."""
        graph = self._graph
        real = graph.add("Greater", self._sizes, graph.constant(np.float32(0)))
        logs = graph.add("Log", graph.add("Max", self._sizes, graph.constant(np.float32(1))))
        row = graph.add("Where", real, logs, graph.constant(_LOWEST))
        row = graph.add("Unsqueeze", row, graph.ints(1, 2))
        length = graph.add("Shape", self._sizes, start=1, end=2)
        square = graph.add("Concat", graph.ints(1, 1), length, graph.ints(1), axis=0)
        self._bias = graph.add("Expand", row, square)

    def _mix(self, *inputs: str) -> str:
        if not self._merged:
            return super()._mix(*inputs)
        return self._graph.add(
            "MultiHeadAttention",
            *inputs,
            "",
            self._bias,
            domain=MICROSOFT,
            num_heads=self._n_heads,
        )

    def _outputs(self, states: str) -> dict[str, tuple[str, tuple[str | int, ...]]]:
        kept = self._graph.add("Concat", *self._kept, axis=1)
        return {**super()._outputs(states), "kept": (kept, ("n", self._n_layers))}

    def _pool(self, states: str) -> str:
        self._float_mask = self._sizes
        return super()._pool(states)
