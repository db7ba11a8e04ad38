"""Fuse operators that exporters decompose, where that is measurably faster."""

from __future__ import annotations

from encoder.quant.rewrite.fusion.attention import FusedAttention, attentions
from encoder.quant.rewrite.fusion.gelu import FastGelu
from encoder.quant.rewrite.fusion.norms import FusedNorm
from encoder.quant.rewrite.fusion.parts import Parts
from encoder.quant.rewrite.fusion.rotary import FusedRotary
from encoder.quant.rewrite.graph.linears import linears
from encoder.quant.rewrite.graph.network import Network


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
