"""What phones run: ExecuTorch beside ONNX Runtime."""
