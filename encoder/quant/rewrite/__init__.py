"""Precision as a pass over any exported ONNX network. Needs no torch."""

from encoder.quant.rewrite.quantize import RewriteReport, quantize_linears

__all__ = ["RewriteReport", "quantize_linears"]
