"""The parts of a sentence encoder in int8 for ONNX Runtime; `encoder.onnx.build_bert` joins them.

Weights are int8 with a scale for each output. Activations are uint8 with a scale for each token,
so a text's vector does not depend on its neighbours in the batch, and a token with outliers
(BERT's [CLS] and [SEP] have them) does not coarsen the others. No calibration data is needed, and
the result does not depend on the CPU (`encoder.onnx.codes`).

Other measures make it fast on one core. Attention and GELU are single operators, GELU in its tanh
form, which is 5e-4 off at most, a small part of a code. Where nothing is padded, attention gets no
mask, and ONNX Runtime then blocks it for the cache (Dao et al. 2022). Biases are added where
something is added anyway. Layer norms run as InstanceNormalization over tokens, which ONNX Runtime
vectorizes, while its LayerNormalization (1.32) takes three times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from encoder.onnx.bert import Bert, look_up_packed
from encoder.onnx.codes import (
    GELU_LEAST_SCALE,
    GELU_STEP,
    GELU_ZERO,
    MAX_CODE,
    Array32,
    quantize_rows,
    quantize_table,
)
from encoder.onnx.graph import MICROSOFT, Graph
from encoder.onnx.merge_tokens import MergeStep, log_of_sizes

_LOWEST = -1e30
"""A logit that has no weight, and stays finite when another logit is added."""

_FLOAT, _INT32, _BOOL = 1, 6, 9
"""ONNX's codes for these types."""


class Int8Layers:
    """The tokens of all texts follow each other: states are [1, n * length, dim].

    The states carry the bias of the next layer's ``attention_out``, whose output is added to them.
    """

    def __init__(self, graph: Graph, bert: Bert) -> None:
        self._graph, self._weights, self._words = graph, bert.weights, bert.words
        size = bert.size
        self._n_layers, self._n_heads, self._dim = size.n_layers, size.n_heads, size.hidden_dim
        self._head_dim, self._eps = size.hidden_dim // size.n_heads, size.norm_eps
        self._states = self._unscaled = self._log_sizes = ""

    def begin(self, input_ids: str, sizes: str) -> None:
        graph = self._graph
        self._flat = graph.ints(1, -1, self._dim)
        self._ids = graph.add("Reshape", input_ids, graph.ints(1, -1))
        self._lay_shapes(input_ids, self._ids)
        self._mask = graph.add("Cast", sizes, to=_INT32)
        least = graph.add("ReduceMin", self._mask, keepdims=0)
        self._unpadded = graph.add("Cast", least, to=_BOOL)

    def _lay_shapes(self, tokens: str, flat: str) -> None:
        """Set all that depends on the number of tokens, from ``tokens`` [n, length]."""
        graph = self._graph
        self._n_tokens = graph.add("Shape", flat, start=1, end=2)
        sides = graph.add("Shape", tokens)
        self._per_text = graph.add("Concat", sides, graph.ints(self._dim), axis=0)
        self._ones, self._zeros = self._each_token(np.float32(1)), self._each_token(np.float32(0))
        self._middle = self._each_token(np.uint8(MAX_CODE))
        self._gelu_zero = self._each_token(np.uint8(GELU_ZERO))

    def _each_token(self, value: np.generic) -> str:
        from onnx import numpy_helper

        filling = numpy_helper.from_array(np.array([value]))
        return self._graph.add("ConstantOfShape", self._n_tokens, value=filling)

    def embed(self, input_ids: str) -> None:
        graph, weights = self._graph, self._weights
        if self._words is not None:
            words = look_up_packed(graph, self._words, self._ids)
        else:
            codes, scales = (graph.constant(x) for x in quantize_table(weights["word.weight"]))
            rows = graph.add("Cast", graph.add("Gather", codes, self._ids), to=_FLOAT)
            words = graph.add("Mul", rows, graph.add("Gather", scales, self._ids))
        positions = graph.constant(weights["position.weight"] + weights["token_type.weight"][0])
        length = graph.add("Shape", input_ids, start=1, end=2)
        positions = graph.add("Slice", positions, graph.ints(0), length, graph.ints(0))
        summed = graph.add("Add", graph.add("Reshape", words, self._per_text), positions)
        self._norm(graph.add("Reshape", summed, self._flat), "norm", self._bias_after(-1))

    def attend(self, i: int) -> None:
        graph, weights, at = self._graph, self._weights, f"layers.{i}."
        quantized = self._by_token(self._states)
        projections, biases = [], []
        for name in ("query", "key", "value"):
            weight = weights[f"{at}{name}.weight"]
            projected = graph.add("Reshape", self._linear(quantized, weight), self._per_text)
            projections.append(projected)
            bias = weights[f"{at}{name}.bias"] - weight @ weights[at + "attention_out.bias"]
            biases.append(bias)
        mixed = graph.add("Reshape", self._mix(projections, biases), self._flat)
        gathered = self._linear(self._by_token(mixed), weights[at + "attention_out.weight"])
        summed = graph.add("Add", gathered, self._states)
        self._norm(summed, at + "attention_norm", weights[at + "ffn_out.bias"])

    def _mix(self, projections: Sequence[str], biases: Sequence[Array32]) -> str:
        """Attention over queries, keys and values [n, length, dim], each with its bias [dim].

        Once tokens were merged it is proportional (Bolya et al. 2023): the logarithm of a
        token's size is an extra column of its keys, and all queries have a 1 there. With a bias
        on the logits instead, ONNX Runtime would not block attention for the cache.
        """
        graph, n_heads = self._graph, self._n_heads
        if not self._log_sizes:
            inputs = (*projections, graph.constant(np.concatenate(biases)))
            return graph.choose(
                self._unpadded,
                "MultiHeadAttention",
                inputs,
                (*inputs, self._mask),
                num_heads=n_heads,
            )
        heads = graph.ints(0, 0, n_heads, self._head_dim)
        queries, keys = (graph.add("Reshape", rows, heads) for rows in projections[:2])
        queries = graph.add("Pad", queries, graph.ints(*[0] * 7, 1))
        keys = graph.add("Concat", keys, self._log_sizes, axis=3)
        joined = graph.ints(0, 0, n_heads * (self._head_dim + 1))
        wide = [graph.add("Reshape", rows, joined) for rows in (queries, keys)]
        bias = [_widened(biases[0], n_heads, 1), _widened(biases[1], n_heads, 0), biases[2]]
        return graph.add(
            "MultiHeadAttention", *wide, projections[2], graph.constant(np.concatenate(bias)),
            domain=MICROSOFT, num_heads=n_heads, scale=self._head_dim**-0.5,
        )  # fmt: skip

    def merge(self, i: int, step: MergeStep, floor: str, threshold: float) -> None:
        """Replace the tokens by fewer, after ``attend(i)``.

        The means of the norm's outputs are means of the unscaled states too.
        """
        graph, weights, at = self._graph, self._weights, f"layers.{i}."
        carried = graph.constant(weights[at + "ffn_out.bias"])
        tokens = graph.add("Reshape", graph.add("Sub", self._states, carried), self._per_text)
        limit = graph.constant(np.float32(threshold))
        states, sizes = step.merge(tokens, self._dim, floor, limit), step.sizes
        self._lay_shapes(sizes, graph.add("Reshape", sizes, graph.ints(1, -1)))
        row = log_of_sizes(graph, sizes, _LOWEST)
        row = graph.add("Mul", row, graph.constant(np.float32(self._head_dim**0.5)))
        shape = graph.add("Concat", graph.add("Shape", row), graph.ints(self._n_heads, 1), axis=0)
        self._log_sizes = graph.add("Expand", graph.add("Unsqueeze", row, graph.ints(2, 3)), shape)
        flat = graph.add("Reshape", states, self._flat)
        scale, shift = weights[at + "attention_norm.weight"], weights[at + "attention_norm.bias"]
        unscaled = graph.add("Mul", flat, graph.constant(1 / scale))
        self._unscaled = graph.add("Add", unscaled, graph.constant(-shift / scale))
        self._states = graph.add("Add", flat, carried)

    def feed(self, i: int) -> None:
        graph, weights, at = self._graph, self._weights, f"layers.{i}."
        # Outliers are milder before the norm's scale and shift, so these go into the weights.
        weight = weights[at + "ffn_in.weight"]
        bias = weights[at + "ffn_in.bias"] + weight @ weights[at + "attention_norm.bias"]
        scaled_weight = weight * weights[at + "attention_norm.weight"]
        inner = self._linear(self._by_token(self._unscaled), scaled_weight)
        inner = graph.add("FastGelu", inner, graph.constant(bias), domain=MICROSOFT)
        fed = self._linear(self._gelu_by_token(inner), weights[at + "ffn_out.weight"])
        self._norm(graph.add("Add", fed, self._states), at + "ffn_norm", self._bias_after(i))

    def pool(self, sizes: str) -> str:
        graph = self._graph
        row = graph.add("Unsqueeze", sizes, graph.ints(1))
        sums = graph.add("MatMul", row, graph.add("Reshape", self._states, self._per_text))
        counts = graph.add("ReduceSum", sizes, graph.ints(1), keepdims=1)
        return graph.add("Div", graph.add("Squeeze", sums, graph.ints(1)), counts)

    def _bias_after(self, i: int) -> Array32:
        """The bias that the states carry into layer i + 1."""
        if i + 1 < self._n_layers:
            return self._weights[f"layers.{i + 1}.attention_out.bias"]
        return np.zeros(self._dim, np.float32)

    def _norm(self, states: str, name: str, carried: Array32) -> None:
        """Layer norm: set the states without scale and shift, and with them and ``carried``."""
        graph, weights = self._graph, self._weights
        self._unscaled = graph.add(
            "InstanceNormalization", states, self._ones, self._zeros, epsilon=self._eps
        )
        scaled = graph.add("Mul", self._unscaled, graph.constant(weights[name + ".weight"]))
        shift = graph.constant(weights[name + ".bias"] + carried)
        self._states = graph.add("Add", scaled, shift)

    def _by_token(self, states: str) -> tuple[str, str, int]:
        """Quantize symmetrically around zero: codes, scales [1, n_tokens, 1], zero point."""
        graph = self._graph
        greatest = graph.add("ReduceMax", graph.add("Abs", states), graph.ints(-1))
        # a token of zeros has a scale of zero: whatever its codes are, its products are zero
        scales = graph.add("Mul", greatest, graph.constant(np.float32(1 / MAX_CODE)))
        return self._codes(states, scales, self._middle), scales, MAX_CODE

    def _gelu_by_token(self, states: str) -> tuple[str, str, int]:
        """Quantize the output of GELU."""
        graph = self._graph
        greatest = graph.add("ReduceMax", states, graph.ints(-1))
        scales = graph.add("Mul", greatest, graph.constant(GELU_STEP))
        scales = graph.add("Max", scales, graph.constant(GELU_LEAST_SCALE))
        return self._codes(states, scales, self._gelu_zero), scales, GELU_ZERO

    def _codes(self, states: str, scales: str, zero_points: str) -> str:
        flat = self._graph.add("Reshape", scales, self._graph.ints(-1))
        return self._graph.add("QuantizeLinear", states, flat, zero_points, axis=1)

    def _linear(self, quantized: tuple[str, str, int], weight: Array32) -> str:
        """Multiply by a weight [n_out, n_in]; float32 [1, n_tokens, n_out]."""
        graph = self._graph
        states, scales, zero_point = quantized
        codes, weight_scales = quantize_rows(weight)
        product = graph.add(
            "MatMulIntegerToFloat",
            states,
            graph.constant(codes.T),
            graph.constant(np.float32(1)),  # only one scale is allowed here; the tokens' come after
            graph.constant(weight_scales),
            graph.constant(np.uint8(zero_point)),
            domain=MICROSOFT,
        )
        return graph.add("Mul", product, scales)


def _widened(bias: Array32, n_heads: int, filling: float) -> Array32:
    """A bias [n_heads * d] with one more value for each head."""
    return np.pad(bias.reshape(n_heads, -1), ((0, 0), (0, 1)), constant_values=filling).reshape(-1)
