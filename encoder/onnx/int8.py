"""Linear layers in int8: one scale per row of the activations, one per output of the weight.

So a text's vector does not depend on its batch, and no processor saturates; see
`encoder.onnx.int8_bert`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.graph import MICROSOFT
from encoder.onnx.int8_bert import quantize_rows
from encoder.onnx.linears import Linear
from encoder.onnx.network import Network

_ZERO = 127
"""The code of 0: codes are symmetric around it."""

_GELU_LEAST, _GELU_ZERO = 0.17, 20
"""GELU gives at least -.17, so few of its codes are spent on negative values."""


Rows: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float32]]
"""Codes [n_out, n_in] on which no kernel saturates, and scales [n_out]."""


@dataclass(frozen=True)
class Codes:
    """Activations in uint8.

    Args:
        codes: the value that holds them, in the shape of the states.
        scales: the value that holds a scale for each row, [..., 1].
        zero: the constant that holds the code of 0.
    """

    codes: str
    scales: str
    zero: str


class Int8Linears:
    """Replaces layers one by one; layers that read the same value share its codes."""

    def __init__(self, network: Network) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._activations: dict[str, Codes] = {}
        self._weights: dict[str, tuple[str, str]] = {}
        self._zeros = {code: network.constant(np.uint8(code)) for code in (_ZERO, _GELU_ZERO)}
        self._one = network.constant(np.float32(1))
        self._step = network.constant(np.float32(1 / _ZERO))
        self._gelu_step = network.constant(np.float32(1 / (255 - _GELU_ZERO)))
        self._least_gelu_scale = network.constant(np.float32(_GELU_LEAST / _GELU_ZERO))

    def replace(self, layer: Linear, rounded: Rows | None = None) -> None:
        """Put the int8 form in place of a layer, rounded here unless ``rounded`` is given."""
        network = self._network
        states = self._by_row(layer.states, layer.weight.shape[1])
        weight, weight_scales = self._weight(layer, rounded)
        network.remove(layer.node)
        # only one scale is allowed for the activations, so the row scales come after
        product = network.add(
            "MatMulIntegerToFloat", states.codes, weight, self._one, weight_scales, states.zero,
            domain=MICROSOFT,
        )  # fmt: skip
        end = layer.node.output[0]
        if layer.bias is None:
            network.add("Mul", product, states.scales, output=end)
        else:
            scaled = network.add("Mul", product, states.scales)
            network.add("Add", scaled, layer.bias, output=end)

    def _weight(self, layer: Linear, rounded: Rows | None) -> tuple[str, str]:
        if layer.shared not in self._weights:
            codes, scales = rounded or quantize_rows(layer.weight)
            network = self._network
            self._weights[layer.shared] = network.constant(codes.T), network.constant(scales)
        return self._weights[layer.shared]

    def _by_row(self, states: str, width: int) -> Codes:
        if states not in self._activations:
            network = self._network
            zero, scales = self._scales(states)
            flat = network.add("Reshape", states, network.ints(-1, width))
            each = network.add("Reshape", scales, network.ints(-1))
            zeros = self._repeated(zero, each)
            codes = network.add("QuantizeLinear", flat, each, zeros, domain=MICROSOFT, axis=0)
            codes = network.add("Reshape", codes, network.add("Shape", states))
            self._activations[states] = Codes(codes, scales, self._zeros[zero])
        return self._activations[states]

    def _scales(self, states: str) -> tuple[int, str]:
        """The code of 0, and a scale for each row."""
        network = self._network
        if network.maker(states, "FastGelu", "Gelu"):
            greatest = network.reduce("ReduceMax", states)
            scales = network.add("Mul", greatest, self._gelu_step)
            return _GELU_ZERO, network.add("Max", scales, self._least_gelu_scale)
        least = network.add("Neg", network.reduce("ReduceMin", states))
        greatest = network.add("Max", network.reduce("ReduceMax", states), least)
        # a row of zeros has a scale of zero: whatever its codes are, its products are zero
        return _ZERO, network.add("Mul", greatest, self._step)

    def _repeated(self, zero: int, each: str) -> str:
        """The zero point once per row: `QuantizeLinear` needs as many as there are scales."""
        from onnx import numpy_helper

        value = numpy_helper.from_array(np.array([zero], np.uint8))
        return self._network.add("ConstantOfShape", self._network.add("Shape", each), value=value)
