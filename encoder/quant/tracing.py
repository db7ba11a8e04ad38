"""A network as an ONNX graph: its inputs by name, its outputs in one row, and its operations.

Importing this imports torch.
"""

from __future__ import annotations

import functools
import inspect
import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as symbolic
from torch.onnx._internal.exporter._capture_strategies import (
    patch_dynamic_shape_rnn_decompositions,
)

from encoder.errors import InputError, ModelError
from encoder.onnx.dequantize import OPSET
from encoder.quant.calibration import (
    Batch,
    compared_output,
    describe,
    first_line,
    named_of,
    part_of,
    takes_mapping,
)

if TYPE_CHECKING:
    import onnx_ir as ir


def trace(
    module: nn.Module,
    inputs: Mapping[str, Any],
    dynamic_axes: Mapping[str, Sequence[int]],
    *,
    outputs: Sequence[str] | None = None,
    argument: str | None = None,
    opset: int = 20,
    may_fix: bool = False,
) -> torch.onnx.ONNXProgram:
    """The module as an ONNX program, not yet optimized: the weights are as torch has them.

    Args:
        module: takes tensors by keyword.
        inputs: one call; its dynamic axes must exceed 1.
        dynamic_axes: the axes of each input whose length may vary.
        outputs: their names; None for generated ones.
        argument: of a module that takes all tensors in one mapping.
        opset: the version of ONNX's operators.
        may_fix: give an axis that the model does not let vary its length in ``inputs``.
    """
    varies = torch.export.Dim.AUTO if may_fix else torch.export.Dim.DYNAMIC
    dynamic: dict[str, Any] = {
        name: dict.fromkeys(dynamic_axes.get(name, ()), varies)
        if isinstance(value, Tensor)
        else [None] * len(value)
        for name, value in inputs.items()
    }
    arguments: dict[str, Any] = dict(inputs)
    if argument:
        arguments, dynamic = {argument: arguments}, {argument: dynamic}
    # as `torch.onnx.export` does, except that guards stay guards: lengths of 0 and 1 may vary too,
    # and recurrent layers are loops
    any_length = symbolic.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with quiet(), any_length, patch_dynamic_shape_rnn_decompositions(dynamic_axes):
        program = torch.export.export(module.eval(), (), arguments, dynamic_shapes=dynamic)
    with quiet():
        translated = torch.onnx.export(
            program,
            input_names=list(flat_inputs(inputs)),
            output_names=outputs,
            opset_version=opset,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert translated is not None
    return translated


def with_flat_outputs(twin: nn.Module) -> nn.Module:
    """Let a twin return all tensors of its output in one tuple, or those of the chosen one."""
    if callable(choose := getattr(twin, "set_experts_implementation", None)):
        choose("batched_mm")  # of those of transformers the one in operators that ONNX has
    whole_forward, chosen = twin.forward, compared_output(twin)

    @functools.wraps(whole_forward)
    def forward(*inputs: Any, **named_inputs: Any) -> tuple[Tensor, ...]:
        return tuple(flat(whole_forward(*inputs, **named_inputs), chosen))

    twin.__dict__["forward"] = forward
    return twin


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as a graph.

    Args:
        graph: the weights are as torch has them.
        fixed: the axes that have the length of the example, by input.
        is_recorded: whether it holds nothing but the operations on the example.
    """

    graph: ir.Model
    fixed: Mapping[str, Sequence[int]]
    is_recorded: bool = False


def graph_of(
    twin: nn.Module,
    inputs: Mapping[str, Any],
    axes: Mapping[str, Sequence[int]],
    *,
    may_fix: bool,
) -> Traced:
    """The twin as a graph.

    What the exporter of today cannot follow, as the boxes of a detector, the older one records.
    """
    first_name = next(iter(inspect.signature(twin.forward).parameters), None)
    argument = first_name if takes_mapping(twin, inputs) else None
    first: Exception | None = None
    try:
        graph = trace(twin, inputs, axes, argument=argument, opset=OPSET, may_fix=may_fix).model
        return Traced(graph, _fixed_axes(graph, axes))
    # both exporters raise whatever the model's forward or their passes do
    except Exception as error:  # noqa: BLE001
        first = error
    try:
        graph = _recorded(twin, inputs, axes)
        return Traced(graph, _fixed_axes(graph, axes), is_recorded=True)
    except Exception as error:  # noqa: BLE001
        first = error if isinstance(error, ModelError) else first
    raise ModelError(
        f"{type(twin).__name__} cannot be traced with ({describe(inputs)}) and dynamic axes "
        f"{dict(axes)}: {_reason(first)}.",
        remedy="Branch with torch.where or torch.cond, or pass dynamic_axes with the axes that the "
        "model lets vary ({} for none).",
    ) from first


def _fixed_axes(graph: ir.Model, axes: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Those of the axes that the graph does not let vary."""
    shapes = {str(value.name): value.shape for value in graph.graph.inputs}
    return {
        # the exporter writes some lengths as symbols such as "8"
        name: [axis for axis in varying if str(shape[axis]).isdecimal()]
        for name, varying in axes.items()
        if (shape := shapes.get(name)) is not None
    }


def _reason(error: BaseException) -> str:
    """The root of an error and the line of the model's own code where it arose."""
    source_line = ""
    while True:
        for frame in traceback.extract_tb(error.__traceback__):
            if not any(folder in frame.filename for folder in _NOT_THE_MODEL):
                source_line = f" ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"
        if error.__cause__ is None:
            return f"{first_line(error)}{source_line}"
        error = error.__cause__


_NOT_THE_MODEL = (
    str(Path(torch.__file__).parent), str(Path(__file__).parent), "onnxscript", "onnx_ir", "<",
)  # fmt: skip


def _recorded(
    twin: nn.Module, inputs: Mapping[str, Any], axes: Mapping[str, Sequence[int]]
) -> ir.Model:
    """The twin's operations on the example, one after the other.

    Raises:
        ModelError: the forward takes one of several ways by values.
    """
    import onnx
    import onnx_ir

    file: Any = BytesIO()  # may be given, though the signature knows paths only
    with quiet(), warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        torch.onnx.export(
            twin.eval(), (), file, kwargs=dict(inputs), dynamo=False, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, opset_version=_RECORDED_OPSET,
            input_names=list(flat_inputs(inputs)),
            dynamic_axes={name: list(varying) for name, varying in axes.items()},
        )  # fmt: skip
    for warning in caught:
        # torchvision's detectors are made to be recorded, and torch checks itself
        of_library = any(folder in warning.filename for folder in ("torchvision", *_NOT_THE_MODEL))
        if "to a Python " in str(warning.message) and not of_library:
            source_line = f"{Path(warning.filename).name}, line {warning.lineno}"
            raise ModelError(f"its forward branches on a value, at {source_line}", remedy="")
    graph = onnx.load_from_string(file.getvalue())
    graph.opset_import[0].version = OPSET  # which knows more types of the same operators
    recorded: ir.Model = onnx_ir.from_proto(graph)
    return recorded


_RECORDED_OPSET = 20


def flat_inputs(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """All tensors by the names that the graph gives them."""
    tensors: dict[str, Tensor] = {}
    for name, value in inputs.items():
        flat_value = flat(value)
        single = isinstance(value, Tensor)
        tensors |= {
            name if single else f"{name}_{i}": tensor for i, tensor in enumerate(flat_value)
        }
    return tensors


@contextmanager
def quiet() -> Iterator[None]:
    """While entered, nothing is printed: exporters write whole graphs when they give up."""
    disabled_level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled_level)


def inputs_by_name(model: nn.Module, example: Batch) -> dict[str, Any]:
    """The inputs by the names of ``forward``'s parameters: tensors, and lists of tensors."""
    if isinstance(example, Mapping):
        inputs = dict(example)
    else:
        values = example if isinstance(example, (list, tuple)) else (example,)
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(model.forward).parameters.values()
        names = [parameter.name for parameter in parameters if parameter.kind in kinds]
        inputs = dict(zip(names, values, strict=False))
        if len(inputs) < len(values):
            raise InputError(
                "example",
                got=f"{len(values)} inputs, and forward names {len(inputs)}",
                wanted="a dict of inputs by name",
            )
    for name, value in inputs.items():
        tensors = value if isinstance(value, (list, tuple)) and value else [value]
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise InputError(f"example[{name!r}]", got=type(value).__name__, wanted="a tensor")
    return inputs


def default_axes(inputs: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """See `export_onnx`."""
    tensors = {name: x for name, x in inputs.items() if isinstance(x, Tensor) and x.ndim}
    tokens = {x.shape for x in tensors.values() if x.ndim == 2 and not x.is_floating_point()}
    n_items = next((len(x) for x in tensors.values()), 0)
    axes: dict[str, tuple[int, ...]] = {}
    for name, tensor in tensors.items():
        is_state = len(tensor) != n_items and tensor.ndim > 2 and tensor.shape[1] == n_items
        axes[name] = (0, 1) if tensor.shape in tokens else (1 if is_state else 0,)
    return axes


def at_least_two(inputs: Mapping[str, Any], axes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Repeat inputs of length 1 along a dynamic axis: the tracer would take 1 for a constant."""

    def doubled(name: str, tensor: Tensor) -> Tensor:
        for axis in axes.get(name, ()):
            if tensor.shape[axis] == 1:
                tensor = torch.cat([tensor, tensor], axis)
        return tensor

    return {name: doubled(name, tensor) for name, tensor in inputs.items()}


def flat(output: Any, chosen: str | None = None) -> list[Tensor]:
    """The tensors of an output, or of the part that a path names; complex ones as pairs."""
    tensors: list[Tensor] = []
    passed: set[int] = set()

    def collect(value: Any) -> None:
        if isinstance(value, Tensor):
            tensors.append(torch.view_as_real(value) if value.is_complex() else value)
        elif id(value) not in passed and not isinstance(value, (nn.Module, type, torch.dtype)):
            passed.add(id(value))
            fields = named_of(value)
            elements = value if isinstance(value, (list, tuple)) else ()
            for element in elements if fields is None else fields.values():
                collect(element)

    for element in part_of(output, chosen) if chosen else ():
        collect(element)
    if not tensors:
        collect(output)
    return tensors
