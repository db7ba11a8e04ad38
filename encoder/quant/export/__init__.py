"""Quantized models as ONNX files, and what TensorRT takes of them."""
