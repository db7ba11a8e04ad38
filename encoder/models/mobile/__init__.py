"""The towers of a model as files for phones: ONNX, and what an application must know about them."""
