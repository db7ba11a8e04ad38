"""What phones run: ExecuTorch and ONNX Runtime."""
