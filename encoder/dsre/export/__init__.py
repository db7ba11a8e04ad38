"""The sparse forward as ONNX files."""
