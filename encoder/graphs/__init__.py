"""The bundle's networks, built as ONNX graphs from their arrays; none of it needs torch."""
