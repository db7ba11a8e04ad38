"""Lower precision as a pass over any exported ONNX network. Needs no torch."""

from encoder.quant.rewrite.outliers import local_errors
from encoder.quant.rewrite.quantize import RewriteReport, quantize_linears
from encoder.quant.rewrite.stored import StoredWeight, store_weights

__all__ = ["RewriteReport", "StoredWeight", "local_errors", "quantize_linears", "store_weights"]
