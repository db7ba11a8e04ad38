"""Quantized models as ONNX files, and checks of what TensorRT takes."""
