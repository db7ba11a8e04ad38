"""Linear layers with weights in 4 bits, blocks of 32; ONNX Runtime multiplies them in int8.

ONNX Runtime quantizes the activations itself, each block of a row on its own, so that here too a
text's vector does not depend on its batch.
"""

from __future__ import annotations

from encoder.onnx.blocks import BLOCK, Blocks, quantize_blocks
from encoder.onnx.graph import MICROSOFT
from encoder.onnx.linears import Linear
from encoder.onnx.network import Network

_IN_INT8 = 4
"""`MatMulNBits`' accuracy level that computes in int8."""


class Int4Linears:
    """Replaces layers one by one; layers with the same weight share its 4-bit form."""

    def __init__(self, network: Network) -> None:
        network.uses(MICROSOFT)
        self._network = network
        self._weights: dict[str, tuple[str, str, int]] = {}

    def replace(self, layer: Linear, rounded: Blocks | None = None) -> None:
        """Put the 4-bit form in place of a layer, rounded here unless ``rounded`` is given."""
        network = self._network
        n_out, n_in = layer.weight.shape
        if layer.shared not in self._weights:
            codes, scales, width = rounded or (*quantize_blocks(layer.weight), BLOCK)
            self._weights[layer.shared] = network.constant(codes), network.constant(scales), width
        *stored, width = self._weights[layer.shared]
        network.remove(layer.node)
        end = layer.node.output[0]
        product = network.add(
            "MatMulNBits", layer.states, *stored, domain=MICROSOFT,
            output=None if layer.bias else end, K=n_in, N=n_out, bits=4, block_size=width,
            accuracy_level=_IN_INT8,
        )  # fmt: skip
        if layer.bias:
            network.add("Add", product, layer.bias, output=end)
