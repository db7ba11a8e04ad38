"""Precision as a pass over any exported ONNX network. Needs no torch."""

from encoder.quant.rewrite.outliers import local_errors
from encoder.quant.rewrite.quantize import RewriteReport, quantize_linears

__all__ = ["RewriteReport", "local_errors", "quantize_linears"]
