"""Write an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

_OPSET = 20
_IR_VERSION = 10


class Graph:
    """Collects constants and nodes; callers refer to each value by its name only."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: NDArray[Any] | np.generic, name: str = "") -> str:
        """Add a constant and return its name, which is generated if none is given."""
        from onnx import numpy_helper

        name = name or f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a constant int64 vector, such as a shape, and return its name."""
        return self.constant(np.array(values, np.int64))

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.add_many(
            op, [f"{op}_{len(self._nodes)}"], *inputs, domain=domain, **attributes
        )[0]

    def add_many(
        self, op: str, outputs: Sequence[str], *inputs: str, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs, under these names, and return them."""
        from onnx import helper

        name = outputs[0]
        self._nodes.append(helper.make_node(op, inputs, outputs, name, domain=domain, **attributes))
        return list(outputs)

    def save(
        self,
        path: Path,
        inputs: Mapping[str, tuple[Any, Sequence[str | int]]],
        outputs: Mapping[str, tuple[str, Sequence[str | int]]],
    ) -> None:
        """Write the graph.

        Args:
            path: the ``.onnx`` file to write.
            inputs: numpy dtype and shape by name; a word in a shape is a length that can vary.
            outputs: value and shape by the name of the output; all are float32.
        """
        import onnx
        from onnx import helper

        input_infos = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), s)
            for name, (dtype, s) in inputs.items()
        ]
        output_infos = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, (_, shape) in outputs.items()
        ]
        ends = [
            helper.make_node("Identity", [value], [name]) for name, (value, _) in outputs.items()
        ]
        graph = helper.make_graph(
            [*self._nodes, *ends], path.stem, input_infos, output_infos, self._constants
        )
        domains = {node.domain for node in self._nodes}
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid(domain, 1 if domain else _OPSET)
                for domain in sorted({"", *domains})
            ],
            ir_version=_IR_VERSION,
        )
        onnx.save(model, path)
