"""Quantization: a bit width for every layer, chosen by measurement."""
