"""Fuse operators that exporters decompose, where that is measurably faster."""

from __future__ import annotations

from encoder.onnx.attention import FusedAttention, attentions
from encoder.onnx.gelu import FastGelu
from encoder.onnx.linears import linears
from encoder.onnx.network import Network
from encoder.onnx.norms import FusedNorm
from encoder.onnx.parts import Parts
from encoder.onnx.rotary import FusedRotary


def fuse(network: Network) -> dict[str, int]:
    """Rewrite all that is found; return the number of rewrites by name."""
    parts = Parts(network)
    n_cut = sum(parts.replace(layer) for layer in list(linears(network)))
    norm, rotary = FusedNorm(network), FusedRotary(network)
    attention, gelu = FusedAttention(network), FastGelu(network)
    return {
        "parts": n_cut,
        "norm": sum(norm.replace(node) for node in network.nodes("Mul", "Div")),
        "rotary": sum(rotary.replace(node) for node in network.nodes("Add")),
        "attention": sum(attention.replace(found) for found in attentions(network)),
        "gelu": sum(gelu.replace(node) for node in network.nodes("Gelu", "Mul")),
    }
