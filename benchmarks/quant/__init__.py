"""What quantization costs and gains, compared with others: ``python -m benchmarks.quant``."""
