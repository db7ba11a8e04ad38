"""The bundle's networks, laid as ONNX graphs from their arrays; none of it needs torch."""
