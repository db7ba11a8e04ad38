"""An ONNX network to be rewritten: which node makes a value, which read it, what is constant.

Weights are mapped, not read, and new ones are written as they come: a network of gigabytes can be
rewritten in the memory of one layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError
from encoder.onnx.storage import Storage, stored_bytes, tensor_array
from encoder.onnx.structure import Shape, known, needed, operators, reads

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

_FOLDABLE = ("Transpose", "Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze", "Slice")
"""What exporters put between a weight and the layer that reads it."""


class OnnxNetwork:
    """The main graph of an ONNX file; subgraphs and functions stay as they are.

    Nodes can be added in any order. A node that makes a value of the old graph takes over the
    value's name, so that whatever reads it, even a subgraph, stays unchanged.

    Args:
        source: the ``.onnx`` file; its weights may be in files next to it.
        target: the file that `save` will write. Weights of more than 1 GiB go next to it.

    Raises:
        ModelError: it is not an ONNX file.
    """

    def __init__(self, source: Path, target: Path) -> None:
        import onnx

        try:
            self.proto = onnx.load(source, load_external_data=False)
        # protobuf's errors share no base class below Exception
        except Exception as error:
            raise ModelError(
                f"{source} is not an ONNX file: {error}.", remedy="Export the network again."
            ) from error
        self._folder = source.parent
        self.opset = next((o.version for o in self.proto.opset_import if o.domain in _MAIN), 1)
        self._tensors: dict[str, TensorProto] = {t.name: t for t in self.proto.graph.initializer}
        n_bytes = sum(map(stored_bytes, self._tensors.values()))
        self._storage = Storage(target, external=n_bytes > _LARGEST_BYTES)
        self._made: dict[str, TensorProto] = {}
        self._nodes = list(self.proto.graph.node)
        self._n_made = 0
        names = {*self._tensors, *(value for node in self._nodes for value in node.output)}
        self._prefix = "rewritten"
        while any(name.startswith(f"{self._prefix}_") for name in names):
            self._prefix += "_again"
        self._known: tuple[dict[str, Shape], dict[str, int]] | None = None
        self._index()

    def _index(self) -> None:
        self._makers: dict[str, NodeProto] = {o: n for n in self._nodes for o in n.output if o}
        self._readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for node in self._nodes:
            for value in dict.fromkeys(reads(node)):
                self._readers[value].append(node)
        self.outputs = dict.fromkeys(value.name for value in self.proto.graph.output)

    def nodes(self, *ops: str) -> Iterator[NodeProto]:
        """The nodes of the main graph, all or those of some operators."""
        return (n for n in list(self._nodes) if not ops or n.op_type in ops)

    def maker(self, value: str, *ops: str) -> NodeProto | None:
        """The node that makes a value, if it is of one of ``ops`` (or of any, if none is named)."""
        node = self._makers.get(value)
        return node if node is not None and (not ops or node.op_type in ops) else None

    def readers(self, value: str) -> list[NodeProto]:
        """The nodes that read a value, in the graph or in their subgraphs."""
        return self._readers[value]

    def only_reader(self, value: str, *ops: str) -> NodeProto | None:
        """The only node that reads a value, and reads it once, if it is of one of ``ops``."""
        nodes = self._readers[value]
        if value in self.outputs or len(nodes) != 1 or list(nodes[0].input).count(value) != 1:
            return None
        return nodes[0] if not ops or nodes[0].op_type in ops else None

    def array(self, value: str) -> NDArray[Any] | None:
        """A constant, even behind a transposition, a reshape or a cast; None if not constant."""
        if tensor := self._made.get(value):
            return tensor_array(tensor, self._storage.folder)
        if tensor := self._tensors.get(value):
            return tensor_array(tensor, self._folder)
        node = self._makers.get(value)
        if node is None:
            return None
        if node.op_type == "Constant":
            return _constant(node)
        return self._folded(node) if node.op_type in _FOLDABLE else None

    def _folded(self, node: NodeProto) -> NDArray[Any] | None:
        operands = [self.array(name) for name in node.input]
        if not operands or any(operand is None for operand in operands):
            return None
        folded: NDArray[Any] = _FOLDS[node.op_type](node, *operands)
        return folded

    def root(self, value: str) -> str:
        """A key of the stored constant that `array` found: equal for all that share a weight."""
        node = self._makers.get(value)
        if node is None or node.op_type not in _FOLDABLE:
            return value
        facts = [a.SerializeToString().hex() for a in node.attribute]
        return "|".join([self.root(node.input[0]), node.op_type, *node.input[1:], *facts])

    def scalar(self, value: str) -> float | None:
        """A constant with a single value, as a number; None if it is not one."""
        array = self.array(value)
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    def shape(self, value: str) -> Shape | None:
        """A value's shape, as far as it is known from the source graph."""
        return self._facts()[0].get(value)

    def is_bool(self, value: str) -> bool:
        """Whether a value of the source graph is known to be bool."""
        return self._facts()[1].get(value) == _BOOL

    def _facts(self) -> tuple[dict[str, Shape], dict[str, int]]:
        if self._known is None:
            self._known = known(self.proto)
        return self._known

    def constant(self, array: NDArray[Any] | np.generic) -> str:
        """Add a constant and return its name."""
        name = f"{self._prefix}_constant_{len(self._made)}"
        self._made[name] = self._storage.tensor(name, np.asarray(array, order="C"))
        return name

    def ints(self, *values: int) -> str:
        """Add a constant int64 vector, such as a shape, and return its name."""
        return self.constant(np.array(values, np.int64))

    def add(
        self,
        op: str,
        *inputs: str,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node with one output and return the output's name, ``output`` if that is given."""
        return self.place(self.node(op, *inputs, domain=domain, output=output, **attributes))

    def add_many(
        self, op: str, outputs: Sequence[str], *inputs: str, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs, under these names, and return them."""
        node = self.node(op, *inputs, **attributes)
        node.output[:] = outputs
        self.place(node)
        return list(outputs)

    def node(
        self,
        op: str,
        *inputs: str,
        domain: str = "",
        output: str | None = None,
        **attributes: Any,
    ) -> NodeProto:
        """A node like those of `add`, but not in the graph yet."""
        from onnx import helper

        name = f"{self._prefix}_{op}_{self._n_made}"
        self._n_made += 1
        return helper.make_node(
            op, list(inputs), [output or name], name, domain=domain, **attributes
        )

    def fork(
        self, condition: str, then: Sequence[NodeProto], otherwise: Sequence[NodeProto]
    ) -> NodeProto:
        """An ``If`` with one float output: that of the last node that runs."""
        from onnx import TensorProto, helper

        name, branches = f"{self._prefix}_If_{self._n_made}", {}
        self._n_made += 1
        for branch, nodes in (("then_branch", then), ("else_branch", otherwise)):
            info = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
            branches[branch] = helper.make_graph(nodes, branch, [], [info])
        return helper.make_node("If", [condition], [name], name, **branches)

    def place(self, node: NodeProto) -> str:
        """Add a node and return the name of its first output."""
        self._nodes.append(node)
        self._makers |= {str(output): node for output in node.output}
        for value in dict.fromkeys(reads(node)):
            self._readers[value].append(node)
        return str(node.output[0])

    def reduce(self, op: str, value: str) -> str:
        """Reduce the last axis to length 1, in the form that the network's opset requires."""
        if self.opset >= 18:
            return self.add(op, value, self.ints(-1), keepdims=1)
        return self.add(op, value, axes=[-1], keepdims=1)

    def set_outputs(self, outputs: Mapping[str, tuple[int, Sequence[str | int]]]) -> None:
        """Give these values, each with ONNX's type code and a shape, instead of the old outputs."""
        from onnx import helper

        self.proto.graph.ClearField("output")
        for name, (dtype, shape) in outputs.items():
            self.proto.graph.output.append(helper.make_tensor_value_info(name, dtype, shape))
        self.outputs = dict.fromkeys(outputs)

    def add_output(self, name: str, shape: Sequence[str | int]) -> None:
        """Give a float32 value too."""
        from onnx import TensorProto, helper

        self.proto.graph.output.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        )
        self.outputs[name] = None

    def default_input(self, name: str, array: NDArray[np.float32]) -> None:
        """Take an input, which has these values if it is not given."""
        from onnx import TensorProto, helper

        self.proto.graph.input.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        )
        self._made[name] = self._storage.tensor(name, array)

    def rewire(self, node: NodeProto, values: Mapping[str, str]) -> None:
        """Let a node read other values, named by those that it reads now."""
        for value in dict.fromkeys(node.input):
            self._readers[value] = [n for n in self._readers[value] if n is not node]
        node.input[:] = [values.get(value, value) for value in node.input]
        for value in dict.fromkeys(reads(node)):
            if node not in self._readers[value]:
                self._readers[value].append(node)

    def is_read(self, name: str) -> bool:
        """Whether a constant that is stored under this name is read by any node."""
        return name in self._tensors and bool(self._readers[name])

    def forget(self, name: str) -> None:
        """Stop storing a constant; a node must then make it."""
        del self._tensors[name]

    def remove(self, *nodes: NodeProto) -> None:
        """Remove nodes; their outputs must be made by others, or no longer be needed."""
        gone = {id(node) for node in nodes}
        self._nodes = [node for node in self._nodes if id(node) not in gone]
        for node in nodes:
            for value in dict.fromkeys(reads(node)):
                self._readers[value] = [n for n in self._readers[value] if n is not node]
            for value in node.output:
                if self._makers.get(value) is node:
                    del self._makers[value]

    def bypass(self, node: NodeProto, value: str) -> None:
        """Remove a node with one output; the nodes that read it read ``value`` instead."""
        output = node.output[0]
        self.remove(node)
        for reader in self._readers.pop(output, []):
            reader.input[:] = [value if name == output else name for name in reader.input]
            self._readers[value].append(reader)

    def uses(self, domain: str) -> None:
        """Declare a domain of operators."""
        from onnx import helper

        if all(o.domain != domain for o in self.proto.opset_import):
            self.proto.opset_import.append(helper.make_opsetid(domain, 1))

    def raise_opset(self, version: int) -> bool:
        """Declare a later opset; False if that might change the network's meaning.

        From 20 to 23 only `GroupNormalization` changed its meaning.
        """
        if self.opset >= version:
            return True
        is_known = self.opset >= 20 and version <= 23 and not self.proto.functions
        if not is_known or "GroupNormalization" in operators(self.proto.graph):
            return False
        for declared in self.proto.opset_import:
            if declared.domain in _MAIN:
                declared.version = version
        self.opset = version
        return True

    def save(self, *, with_shapes: bool = False) -> None:
        """Write what the outputs need; what is noted of shapes only if it still holds."""
        graph = self.proto.graph
        nodes = needed(self._nodes, self.outputs)
        used = {value for node in nodes for value in reads(node)} | {*self.outputs}
        tensors = [
            self._storage.moved(tensor, self._folder)
            for name, tensor in self._tensors.items()
            if name in used
        ]
        tensors += [tensor for name, tensor in self._made.items() if name in used]
        for field, values in (("node", nodes), ("initializer", tensors)):
            graph.ClearField(field)
            getattr(graph, field).extend(values)
        if not with_shapes:
            graph.ClearField("value_info")
        for node in graph.node:  # exporters note stack traces of their machine, 1 kB each
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        self._storage.write(self.proto)


_MAIN = ("", "ai.onnx")
_BOOL = 9
_LARGEST_BYTES = 1 << 30
"""The most weights inside the file; protobuf allows twice as much, all held in memory."""


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    from onnx import helper

    match = next((a for a in node.attribute if a.name == name), None)
    return default if match is None else helper.get_attribute_value(match)


def _constant(node: NodeProto) -> NDArray[Any] | None:
    from onnx import numpy_helper

    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if (value := attribute(node, name)) is not None:
            if name == "value":
                return np.asarray(numpy_helper.to_array(value))
            return np.asarray(value, np.float32 if "float" in name else np.int64)
    return None


def _reshape(_: NodeProto, array: NDArray[Any], shape: NDArray[Any]) -> NDArray[Any]:
    sides = [array.shape[i] if side == 0 else int(side) for i, side in enumerate(shape)]
    return array.reshape(sides)


def _cast(node: NodeProto, array: NDArray[Any]) -> NDArray[Any]:
    from onnx import helper

    return array.astype(helper.tensor_dtype_to_np_dtype(attribute(node, "to")))


def _slice(node: NodeProto, array: NDArray[Any], *cut: NDArray[Any]) -> NDArray[Any]:
    """Bounds have been inputs since opset 10 and were attributes before."""
    attribute_names = ("starts", "ends", "axes")
    starts, ends, *axes_steps = cut or [
        np.asarray(attribute(node, n)) for n in attribute_names if attribute(node, n)
    ]
    axes = axes_steps[0] if axes_steps else range(len(starts))
    steps = axes_steps[1] if len(axes_steps) > 1 else [1] * len(starts)
    places = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places[int(axis)] = slice(int(start), int(end), int(step))
    return array[tuple(places)]


def _axes(node: NodeProto, axes: Sequence[NDArray[Any]]) -> Any:
    """Axes have been an input since opset 13 and were an attribute before."""
    values = axes[0].tolist() if axes else attribute(node, "axes")
    return None if values is None else tuple(values)


_FOLDS: dict[str, Any] = {
    "Transpose": lambda node, array: array.transpose(attribute(node, "perm")),
    "Reshape": _reshape,
    "Cast": _cast,
    "Identity": lambda _, array: array,
    "Unsqueeze": lambda node, array, *axes: np.expand_dims(array, _axes(node, axes)),
    "Slice": _slice,
    "Squeeze": lambda node, array, *axes: np.squeeze(array, _axes(node, axes)),
}
