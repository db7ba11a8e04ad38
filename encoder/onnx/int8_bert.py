"""A sentence encoder in int8 for ONNX Runtime, activations quantized as they come.

Weights are int8 with a scale for each output. Activations are uint8 with a scale for each token,
so a text's vector does not depend on its neighbours in the batch, and a token with outliers
(BERT's [CLS] and [SEP] have them) does not coarsen the others. No calibration data is needed.

The result must not depend on the CPU. AVX2 without VNNI multiplies uint8 by int8 and adds
neighbouring products in 16 bits, with saturation. 255 (w1 + w2) fits where two neighbours sum to
at most 128, so the scale is set by the greatest such sum: exact everywhere, and finer than seven
bits for all weights.

Other measures make it fast on one core. Attention and GELU are single operators, GELU in its tanh
form, which is 5e-4 off at most, a small part of a code. Where nothing is padded, attention gets no
mask, and ONNX Runtime then blocks it for the cache (Dao et al. 2022). Biases are added where
something is added anyway. Layer norms run as InstanceNormalization over tokens, which ONNX Runtime
vectorizes, while its LayerNormalization (1.32) takes three times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.bert import INPUTS, Bert
from encoder.onnx.graph import MICROSOFT, Graph
from encoder.onnx.packed import lay_rows

Array32 = NDArray[np.float32]

_TINY = np.finfo(np.float32).tiny
"""Smaller scales would be 0 in float32, or slow to multiply by."""

_MAX_CODE = 127
_MAX_PAIR = 127.0
"""128 would fit, but rounding can add one half to each of two weights."""

_GELU_LEAST = 0.17
_GELU_ZERO = 20
"""GELU gives at least -.17, so few of its codes are spent on negative values."""


def quantize_rows(weight: NDArray[np.floating]) -> tuple[NDArray[np.int8], Array32]:
    """Round a weight to the nearest codes that no kernel saturates on (see the module).

    Args:
        weight: [n_out, n_in], as `torch.nn.Linear` has it.

    Returns:
        Codes int8 [n_out, n_in] in -127..127, neighbours summing to -128..128, and scales
        float32 [n_out]; a weight is code times scale.
    """
    rows = np.asarray(weight, np.float64)
    greatest = np.abs(rows).max(axis=1)
    pairs = np.abs(rows[:, :-1] + rows[:, 1:]).max(axis=1, initial=0.0)
    scales = np.maximum(greatest / _MAX_CODE, pairs / _MAX_PAIR)
    scales = np.where(scales > 0, np.maximum(scales, _TINY), 1.0).astype(np.float32)
    codes = np.rint(rows / scales[:, None]).clip(-_MAX_CODE, _MAX_CODE)
    return codes.astype(np.int8), scales


def quantize_dynamic(bert: Bert, target: Path) -> None:
    """Write the int8 form of a sentence encoder, for ONNX Runtime only.

    Inputs and output are those of `encoder.onnx.bert.lay_bert`.

    Args:
        bert: the network in float32.
        target: the ``.onnx`` file to write.
    """
    Int8Bert(bert).save(target)


class Int8Bert:
    """Builds the graph. The tokens of all texts are concatenated: states are [1, n * length, dim].

    A subclass can change how many tokens there are (`_between`) and how they are weighted
    (`_mix`, `_pool`).
    """

    def __init__(self, bert: Bert) -> None:
        self._weights, self._words, size = bert.weights, bert.words, bert.size
        self._n_layers, self._n_heads = size.n_layers, size.n_heads
        self._eps, self._dim = size.norm_eps, size.hidden_dim
        self._graph = Graph()
        self._functions: list[Any] = []
        self._input_ids, self._float_mask = "input_ids", "mask"
        self._begin()

    def save(self, target: Path) -> None:
        """Build everything and write it."""
        states = self._embed()
        for i in range(self._n_layers):
            states = self._layer(i, states)
        inputs = {name: (kind, ("n", "length")) for name, kind in INPUTS.items()}
        self._graph.save(target, inputs, self._outputs(states), self._functions)

    def _begin(self) -> None:
        graph = self._graph
        self._flat = graph.ints(1, -1, self._dim)
        self._ids = graph.add("Reshape", self._input_ids, graph.ints(1, -1))
        self._lay_shapes(self._input_ids)
        self._mask = graph.add("Cast", self._float_mask, to=_INT32)
        least = graph.add("ReduceMin", self._mask, keepdims=0)
        self._unpadded = graph.add("Cast", least, to=_BOOL)

    def _lay_shapes(self, tokens: str) -> None:
        """Set everything that depends on the number of tokens, from any tensor [n, length]."""
        graph = self._graph
        flat = (
            self._ids
            if tokens == self._input_ids
            else graph.add("Reshape", tokens, graph.ints(1, -1))
        )
        self._n_tokens = graph.add("Shape", flat, start=1, end=2)
        sides = graph.add("Shape", tokens)
        self._per_text = graph.add("Concat", sides, graph.ints(self._dim), axis=0)
        self._ones, self._zeros = self._each_token(np.float32(1)), self._each_token(np.float32(0))
        self._middle = self._each_token(np.uint8(_MAX_CODE))
        self._gelu_zero = self._each_token(np.uint8(_GELU_ZERO))

    def _outputs(self, states: str) -> dict[str, tuple[str, tuple[str | int, ...]]]:
        return {"pooled": (self._pool(states), ("n", self._dim))}

    def _between(self, i: int, unscaled: str, states: str) -> tuple[str, str]:  # noqa: ARG002
        """A hook between attention and feed-forward; both values are as `_norm` returns them."""
        return unscaled, states

    def _mix(self, parts: Sequence[str], biases: Sequence[Array32]) -> str:
        """Attention over queries, keys and values [n, length, dim], each with its bias [dim]."""
        inputs = (*parts, self._graph.constant(np.concatenate(biases)))
        return self._graph.choose(
            self._unpadded,
            "MultiHeadAttention",
            inputs,
            (*inputs, self._mask),
            num_heads=self._n_heads,
        )

    def _each_token(self, value: np.generic) -> str:
        from onnx import numpy_helper

        filled = numpy_helper.from_array(np.array([value]))
        return self._graph.add("ConstantOfShape", self._n_tokens, value=filled)

    def _embed(self) -> str:
        graph, weights = self._graph, self._weights
        words = self._look_up()
        length = graph.add("Shape", self._input_ids, start=1, end=2)
        places = graph.constant(weights["position.weight"] + weights["token_type.weight"][0])
        places = graph.add("Slice", places, graph.ints(0), length, graph.ints(0))
        both = graph.add("Add", graph.add("Reshape", words, self._per_text), places)
        _, states = self._norm(graph.add("Reshape", both, self._flat), "norm", self._bias_after(-1))
        return states

    def _look_up(self) -> str:
        """The words' rows, [1, n_tokens, dim]: from an 8-bit table, or a packed one as it is."""
        graph = self._graph
        if self._words is not None:
            return lay_rows(graph, self._words, self._ids)
        table = self._weights["word.weight"]
        scales = (np.abs(table).max(axis=1, keepdims=True) / _MAX_CODE).astype(np.float32)
        scales[scales == 0] = 1.0
        codes = graph.constant(np.rint(table / scales).astype(np.int8))
        rows = graph.add("Cast", graph.add("Gather", codes, self._ids), to=_FLOAT)
        return graph.add("Mul", rows, graph.add("Gather", graph.constant(scales), self._ids))

    def _layer(self, i: int, states: str) -> str:
        """One layer. ``states`` include the bias of `attention_out`, whose output is added next."""
        at = f"layers.{i}."
        graph, weights = self._graph, self._weights
        fed = self._linear(self._attend(at, states), weights[at + "attention_out.weight"])
        unscaled, states = self._norm(
            graph.add("Add", fed, states), at + "attention_norm", weights[at + "ffn_out.bias"]
        )
        unscaled, states = self._between(i, unscaled, states)
        # Outliers are milder before the norm's scale and shift, so these go into the weights.
        weight = weights[at + "ffn_in.weight"]
        bias = weights[at + "ffn_in.bias"] + weight @ weights[at + "attention_norm.bias"]
        fed = self._linear(self._by_token(unscaled), weight * weights[at + "attention_norm.weight"])
        fed = graph.add("FastGelu", fed, graph.constant(bias), domain=MICROSOFT)
        fed = self._linear(self._gelu_by_token(fed), weights[at + "ffn_out.weight"])
        _, states = self._norm(graph.add("Add", fed, states), at + "ffn_norm", self._bias_after(i))
        return states

    def _attend(self, at: str, states: str) -> tuple[str, str, int]:
        """The output of the attention heads, quantized."""
        graph, weights = self._graph, self._weights
        quantized = self._by_token(states)
        parts, biases = [], []
        for part in ("query", "key", "value"):
            weight = weights[at + part + ".weight"]
            parts.append(graph.add("Reshape", self._linear(quantized, weight), self._per_text))
            biases.append(
                weights[at + part + ".bias"] - weight @ weights[at + "attention_out.bias"]
            )
        return self._by_token(graph.add("Reshape", self._mix(parts, biases), self._flat))

    def _bias_after(self, i: int) -> Array32:
        """The bias that the states carry into layer i + 1; see `_layer`."""
        if i + 1 < self._n_layers:
            return self._weights[f"layers.{i + 1}.attention_out.bias"]
        return np.zeros(self._dim, np.float32)

    def _norm(self, states: str, name: str, extra_bias: Array32) -> tuple[str, str]:
        """Layer norm, once without scale and shift and once with them and ``extra_bias``."""
        graph, weights = self._graph, self._weights
        unscaled = graph.add(
            "InstanceNormalization", states, self._ones, self._zeros, epsilon=self._eps
        )
        scaled = graph.add("Mul", unscaled, graph.constant(weights[name + ".weight"]))
        shift = graph.constant(weights[name + ".bias"] + extra_bias)
        return unscaled, graph.add("Add", scaled, shift)

    def _by_token(self, states: str) -> tuple[str, str, int]:
        """Quantize symmetrically around zero: codes, scales [1, n_tokens, 1], zero point."""
        graph = self._graph
        greatest = graph.add("ReduceMax", graph.add("Abs", states), graph.ints(-1))
        # a token of zeros has a scale of zero: whatever its codes are, its products are zero
        scales = graph.add("Mul", greatest, graph.constant(np.float32(1 / _MAX_CODE)))
        return self._codes(states, scales, self._middle), scales, _MAX_CODE

    def _gelu_by_token(self, states: str) -> tuple[str, str, int]:
        """Quantize the output of GELU."""
        graph = self._graph
        greatest = graph.add("ReduceMax", states, graph.ints(-1))
        step = graph.constant(np.float32(1 / (255 - _GELU_ZERO)))
        least_scale = graph.constant(np.float32(_GELU_LEAST / _GELU_ZERO))
        scales = graph.add("Max", graph.add("Mul", greatest, step), least_scale)
        return self._codes(states, scales, self._gelu_zero), scales, _GELU_ZERO

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

    def _pool(self, states: str) -> str:
        graph = self._graph
        row = graph.add("Unsqueeze", self._float_mask, graph.ints(1))
        sums = graph.add("MatMul", row, graph.add("Reshape", states, self._per_text))
        counts = graph.add("ReduceSum", self._float_mask, graph.ints(1), keepdims=1)
        return graph.add("Div", graph.add("Squeeze", sums, graph.ints(1)), counts)


_FLOAT, _INT32, _BOOL = 1, 6, 9
"""ONNX's codes for these types."""
