"""Fuse operators that exporters decompose, where that is measurably faster."""

from __future__ import annotations

from encoder.quant.rewrite.attention import FusedAttention, attentions
from encoder.quant.rewrite.gelu import FastGelu
from encoder.quant.rewrite.linears import linears
from encoder.quant.rewrite.network import Network
from encoder.quant.rewrite.norms import FusedNorm
from encoder.quant.rewrite.parts import Parts
from encoder.quant.rewrite.rotary import FusedRotary


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
