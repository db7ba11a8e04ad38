"""What quantization costs and gains, beside others: ``python -m benchmarks.quant``."""
