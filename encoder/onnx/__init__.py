"""The one place that writes or rewrites ONNX graphs; needs no torch."""
