"""Linear layers in int8: one scale per row of the activations, one per output of the weight.

See `encoder.quant.dynamic` for why: a text's vector does not depend on its batch, and no processor
saturates.
"""

from __future__ import annotations

import numpy as np

from encoder.quant.dynamic import quantize_rows
from encoder.quant.graph import MICROSOFT
from encoder.quant.rewrite.linears import Linear
from encoder.quant.rewrite.network import Network

_ZERO = 127
"""The code of 0: codes are even on both sides of it."""


class Int8Linears:
    """Replaces layers one by one; layers that read the same value share its codes."""

    def __init__(self, network: Network) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._activations: dict[str, tuple[str, str]] = {}
        self._weights: dict[str, tuple[str, str]] = {}
        self._one = network.constant(np.float32(1))
        self._zero = network.constant(np.uint8(_ZERO))
        self._step = network.constant(np.float32(1 / _ZERO))

    def replace(self, layer: Linear) -> None:
        """Put the int8 form in the place of a layer."""
        network = self._network
        codes, scales = self._by_row(layer.states, layer.weight.shape[1])
        weight, weight_scales = self._weight(layer)
        network.remove(layer.node)
        # only one scale is allowed for the activations, so theirs come after
        product = network.add(
            "MatMulIntegerToFloat", codes, weight, self._one, weight_scales, self._zero,
            domain=MICROSOFT,
        )  # fmt: skip
        end = layer.node.output[0]
        if layer.bias is None:
            network.add("Mul", product, scales, output=end)
        else:
            network.add("Add", network.add("Mul", product, scales), layer.bias, output=end)

    def _weight(self, layer: Linear) -> tuple[str, str]:
        if layer.shared not in self._weights:
            codes, scales = quantize_rows(layer.weight)
            network = self._network
            self._weights[layer.shared] = network.constant(codes.T), network.constant(scales)
        return self._weights[layer.shared]

    def _by_row(self, states: str, width: int) -> tuple[str, str]:
        """Codes as the states lie, and a scale for each row [..., 1]."""
        if states not in self._activations:
            network = self._network
            greatest = network.reduce("ReduceMax", network.add("Abs", states))
            # a row of zeros has a scale of zero: whatever its codes are, its products are zero
            scales = network.add("Mul", greatest, self._step)
            flat = network.add("Reshape", states, network.ints(-1, width))
            each = network.add("Reshape", scales, network.ints(-1))
            codes = network.add(
                "QuantizeLinear", flat, each, self._zeros(each), domain=MICROSOFT, axis=0
            )
            shape = network.add("Shape", states)
            self._activations[states] = network.add("Reshape", codes, shape), scales
        return self._activations[states]

    def _zeros(self, each: str) -> str:
        """The zero point once per row: `QuantizeLinear` wants as many as scales."""
        from onnx import numpy_helper

        value = numpy_helper.from_array(np.array([_ZERO], np.uint8))
        return self._network.add("ConstantOfShape", self._network.add("Shape", each), value=value)
