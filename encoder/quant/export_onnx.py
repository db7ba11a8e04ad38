"""Export a quantized model as ONNX: integers stay integers in the file.

Importing this imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from encoder.errors import InputError, ModelError
from encoder.onnx.codes import StoredWeight
from encoder.onnx.dequantize import lift, lower, strip_metadata
from encoder.quant.calibration import Batch, call, compared_output, first_line
from encoder.quant.limits import TENSORRT_BLOCKS, Target, check_target, tensorrt
from encoder.quant.schemes import Scheme
from encoder.quant.stored import StoredLayer, stored_in_modules, stored_layers, take_back
from encoder.quant.tracing import (
    Traced,
    at_least_two,
    default_axes,
    flat,
    flat_inputs,
    graph_of,
    inputs_by_name,
    with_flat_outputs,
)
from encoder.quant.weights import unpack

TOLERANCE = 1e-4
"""Largest difference from torch, as a share of the largest output (or of 1, if that is larger)."""


@dataclass(frozen=True)
class ExportReport(PathLike[str]):
    """What was written; can be used as a path.

    Args:
        path: the file.
        nbytes: its size.
        difference: the largest difference from torch with fusion off, as a share of the largest
            output (or of 1, if that is larger).
        default_difference: the same with ONNX Runtime's default options, under which it may
            round activations to INT8 for INT4 and INT8 weights.
        notes: what is stored differently from in memory, and what was left out.
    """

    path: Path
    nbytes: int
    difference: float
    default_difference: float
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)


def export_onnx(
    model: nn.Module,
    example: Batch,
    path: Path,
    *,
    target: Target = "onnxruntime",
    dynamic_axes: Mapping[str, Sequence[int]] | None = None,
    others: Sequence[Batch] = (),
) -> ExportReport:
    """Write a quantized model to ``path`` and compare it with torch.

    INT8 and INT4 weights are stored as such behind ``DequantizeLinear`` (opset 21; one scale per
    output channel, or one per block for groups), INT3 as INT4, INT5 and INT6 as INT8, FP16 as
    float16. The rest depends on ``target``:

    - ``onnxruntime``: scales are float16; embeddings look up codes and dequantize only those.
    - ``openvino``: float32 scales, and tables are dequantized whole in the graph, since OpenVINO
      takes no blocks of varying shape; it keeps such constants in codes.
    - ``tensorrt``: float32 scales, no zero points, nothing but standard operators, blocks of 128
      or 64 for INT4. TensorRT itself is not run, either here or in the tests.

    Args:
        model: its layers were swapped by `encoder.quant.stored.swap`; others stay as they are.
        example: one call's inputs, to trace with.
        path: the ``.onnx`` file.
        target: the runtime that will run it.
        dynamic_axes: the axes of each input whose length may vary. None for the first of each (a
            state's second, if that is the batch), and also the second of token ids and inputs of
            the same shape; those that the model fixes then have the example's length, and a note
            says so.
        others: more inputs to compare on.

    Raises:
        InputError: the target cannot store a layer's scheme (all such layers are named), or there
            are more inputs than ``forward`` has named parameters.
        ModelError: the model cannot be traced, or ONNX Runtime's outputs differ from torch's.
    """
    check_target(target)
    if target == "tensorrt":
        _refuse_unsupported(model)
    inputs = inputs_by_name(model, example)
    wanted = default_axes(inputs) if dynamic_axes is None else dynamic_axes
    twin, traced_on = with_flat_outputs(float_twin(model)), at_least_two(inputs, wanted)
    stored, notes = _stored(model, blocks=target == "tensorrt")
    path.parent.mkdir(parents=True, exist_ok=True)
    traced = graph_of(twin, traced_on, wanted, may_fix=dynamic_axes is None)
    _write(traced, stored, path, plain=target != "onnxruntime")
    fixed = [
        f"{name} has the fixed length {traced_on[name].shape[axis]} along axis {axis}"
        for name, axes in traced.fixed.items()
        for axis in axes
    ]
    is_fixed = bool(fixed) or traced.is_recorded
    examples = [inputs] if is_fixed else [inputs, *(inputs_by_name(model, x) for x in others)]
    difference, by_default = _compare(model.eval(), path, examples)
    return ExportReport(path, path.stat().st_size, difference, by_default, (*fixed, *notes))


def _write(traced: Traced, stored: Mapping[str, StoredWeight], path: Path, *, plain: bool) -> None:
    import onnx_ir
    from onnxscript.optimizer import optimize

    names = [str(value.name) for value in traced.graph.graph.inputs]
    lifted = lift(traced.graph, stored)
    if not traced.is_recorded:  # of whose branches the optimizer mixes up the names
        optimize(traced.graph)
    for name, value in lifted.items():
        lower(traced.graph, value, stored[name], plain=plain)
    strip_metadata(traced.graph)
    for value in traced.graph.graph.outputs:
        if value.name in names:  # an input that is returned as such, which the optimizer renames
            value.name = f"{value.name}_returned"
    for value, name in zip(traced.graph.graph.inputs, names, strict=True):
        value.name = name
    onnx_ir.save(traced.graph, path)


def float_twin(model: nn.Module) -> nn.Module:
    """A copy in which every packed weight is a parameter again, with its dequantized values.

    Weights with the same stored content (tied ones) are one parameter.
    """
    twin = copy.deepcopy(model)
    for tied in _stored_once(twin):
        parameter = nn.Parameter(next(iter(tied.values())).dequantize(), False)
        for layer in tied.values():
            take_back(layer, parameter)
    return twin


def _stored_once(model: nn.Module) -> list[dict[str, StoredLayer]]:
    """The stored weights by their parameter's name, grouped by equal content."""
    by_content: dict[object, dict[str, StoredLayer]] = {}
    for name, layer in stored_in_modules(model):
        content = blake2b(layer.packed.numpy().tobytes() + layer.scales.numpy().tobytes())
        key = (layer.scheme, layer.layout, content.digest())
        full_name = ".".join(filter(None, (name, layer.parameter)))
        by_content.setdefault(key, {})[full_name] = layer
    return list(by_content.values())


def _refuse_unsupported(model: nn.Module) -> None:
    """Name all layers whose scheme TensorRT cannot store, with the reason and one that it takes."""
    problems = {
        name: problem for name, layer in stored_layers(model) if (problem := _problem(layer))
    }
    if problems:
        keep = ", ".join(f'"{name}": "int8"' for name in problems)
        raise InputError(
            "target='tensorrt'",
            got="; ".join(f"{name}: {problem}" for name, problem in problems.items()),
            wanted=f"schemes that TensorRT takes: Quantizer.apply(..., keep={{{keep}}})",
        )


def _problem(layer: StoredLayer) -> str | None:
    if not layer.scheme.is_integer:
        return None
    stored = Scheme(onnx_bits(layer.scheme.bits), layer.scheme.group)
    layout = layer.layout
    problem = tensorrt(stored, layout.kind, layout.n_columns, layout.n_groups)
    return problem and problem.replace(f"INT{stored.bits} ", f"INT{layer.scheme.bits} ", 1)


def onnx_bits(bits: int) -> int:
    """The narrowest integer type of ONNX that holds codes of this many bits.

    >>> [onnx_bits(bits) for bits in (3, 4, 5, 6, 8)]
    [4, 4, 8, 8, 8]
    """
    return 4 if bits <= 4 else 8


def stored_weight(layer: StoredLayer, *, blocks: bool = False) -> StoredWeight:
    """What to write for a weight: widths that ONNX has no type for use the next wider type.

    Args:
        layer: integers or float16.
        blocks: for INT4 with one scale per row, repeat the scale for blocks of 128 or 64 columns,
            which changes no value: TensorRT takes INT4 in blocks only.
    """
    weight, layout = layer.packed_weight, layer.layout
    if not weight.scheme.is_integer:
        floats = weight.packed.half().numpy()
        return StoredWeight(floats, np.zeros((len(floats), 0), np.float32), 16, layout)
    codes = unpack(weight.packed, weight.scheme.bits, weight.n_columns).numpy()
    scales, bits = weight.scales.float().numpy(), onnx_bits(weight.scheme.bits)
    block = None
    if blocks and bits == 4 and scales.shape[1] == 1:
        block = next(size for size in TENSORRT_BLOCKS if weight.n_columns % size == 0)
        scales = scales.repeat(weight.n_columns // block, axis=1)
    return StoredWeight(codes, scales, bits, layout, block)


def stored_weights(module: nn.Module) -> dict[str, StoredWeight]:
    """The weights stored as integers, by the parameter's name; tied weights under each name.

    Weights whose output channels are not their first axis are left out: they stay as the network
    has them.
    """
    return {
        f"{name}.{layer.parameter}": stored_weight(layer)
        for name, layer in stored_in_modules(module)
        if layer.scheme.is_integer and layer.layout.axes == (0,)
    }


def _stored(model: nn.Module, *, blocks: bool) -> tuple[dict[str, StoredWeight], list[str]]:
    """What to write for each parameter of the twin, by each of its names; and notes."""
    stored: dict[str, StoredWeight] = {}
    changed: dict[str, list[str]] = {}
    for tied in _stored_once(model):
        name, first = next(iter(tied.items()))
        if first.scheme.bits == 32:
            continue
        weight = stored_weight(first, blocks=blocks)
        stored |= dict.fromkeys(tied, weight)
        if first.scheme.bits != weight.bits:
            note = f"INT{first.scheme.bits} is stored as INT{weight.bits}"
            changed.setdefault(note, []).append(name.removesuffix(".weight"))
        if weight.group and first.scheme.group is None:
            note = "one scale per channel is repeated for each INT4 block"
            changed.setdefault(note, []).append(name.removesuffix(".weight"))
    return stored, [f"{note}: {', '.join(names)}" for note, names in changed.items()]


_NO_LOG = 4


def _compare(
    model: nn.Module, path: Path, examples: Sequence[Mapping[str, Any]]
) -> tuple[float, float]:
    """The largest differences from torch, with fusion off and with default options.

    Raises:
        ModelError: the first is too large.
    """
    from encoder.runtime.onnx import session_options
    from encoder.runtime.shared import open_session

    strict, default = session_options(), session_options()
    strict.add_session_config_entry("session.disable_quant_qdq", "1")
    strict.log_severity_level = _NO_LOG
    differences = []
    for options in (strict, default):
        # onnxruntime raises several kinds for a graph that it does not take
        try:
            session = open_session(path, options)
            differences.append(max(_difference(model, session, inputs) for inputs in examples))
        except Exception as error:
            raise ModelError(
                f"ONNX Runtime does not run {path.name}: {first_line(error)}.",
                remedy="Update onnxruntime, or leave out the part of the model that it names.",
            ) from error
        if not differences[0] <= TOLERANCE:
            raise ModelError(
                f"{path.name}: ONNX Runtime differs from torch by {differences[0]:.2g} of the "
                f"largest output, more than {TOLERANCE:.2g}.",
                remedy="Do not use that file: the model does something that no graph holds for "
                "all inputs, or torch and onnxruntime are of other versions than pyproject.toml "
                "names.",
            )
    return differences[0], differences[1]


def _difference(model: nn.Module, session: Any, inputs: Mapping[str, Any]) -> float:
    """The largest difference from torch, as a share of the largest output."""
    with torch.inference_mode():
        reference = [x.double().numpy() for x in flat(call(model, inputs), compared_output(model))]
    names = {value.name for value in session.get_inputs()}
    got = session.run(None, {k: x.numpy() for k, x in flat_inputs(inputs).items() if k in names})
    if [a.shape for a in reference] != [b.shape for b in got]:
        return float("inf")
    return max(
        (
            float(np.where(_same(a, b), 0, np.abs(a - b)).max()) / max(1.0, float(_largest(a)))
            for a, b in zip(reference, got, strict=True)
            if a.size
        ),
        default=0.0,
    )


def _same(a: Any, b: Any) -> Any:
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _largest(values: Any) -> float:
    return float(np.abs(values, where=np.isfinite(values), out=np.zeros_like(values)).max())
