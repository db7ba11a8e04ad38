"""Small ONNX files for the tests of static int8."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper


def save(
    nodes: list[onnx.NodeProto],
    initializers: list[onnx.TensorProto],
    path: Path,
    shape: list[int],
    dtype: int,
) -> None:
    """Write a graph from ``x`` of ``shape`` to ``y``."""
    x = helper.make_tensor_value_info("x", dtype, shape)
    y = helper.make_tensor_value_info("y", dtype, None)
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
