"""Whether TensorRT takes a quantized ONNX file, checked by reading the file.

TensorRT itself is not run: nothing here proves that an engine builds or is fast. Each rule is a
function whose docstring names its source. Sources, as read in 2026:

- *Header*: NvInfer.h of TensorRT 11.1, class IDequantizeLayer (repository NVIDIA/TensorRT).
- *Schemes*, *Explicit*, *Guide*: TensorRT 11.3 documentation, inference library, "Working with
  Quantized Types", pages "Quantization Schemes" and "Explicit Quantization"; of the same guide for
  TensorRT 10.x, section "Weight-Only Quantization".
- *Opsets*: TensorRT 11 documentation, reference, "ONNX Opset Guide".
- *Operators*: docs/operators.md of onnx-tensorrt for TensorRT 10.15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir


TENSORRT_BLOCKS = (128, 64)
"""Block sizes of INT4, largest first."""


@dataclass(frozen=True)
class BrokenRule:
    """A rule that a file breaks.

    Args:
        rule: name of the function below that states and cites the rule.
        subject: the node or tensor.
        problem: what is wrong there.
    """

    rule: str
    subject: str
    problem: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem} ({self.rule})"


def check_tensorrt(path: Path) -> list[BrokenRule]:
    """The rules that an ONNX file breaks; empty if it keeps all of them.

    This is a structural check based on documentation: TensorRT is not run.
    """
    import onnx_ir
    from onnx_ir.passes.common import ShapeInferencePass

    model = ShapeInferencePass()(onnx_ir.load(path)).model
    return [finding for rule in RULES for finding in rule(model)]


def standard_operators(model: ir.Model) -> Iterator[BrokenRule]:
    """No operators of custom domains, and none that the parser lacks. *Operators*: table."""
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx"):
            yield _broken(standard_operators, node, f"operator of the domain {node.domain!r}")
        elif node.op_type in _MISSING:
            yield _broken(standard_operators, node, f"{node.op_type} is not supported")


def opset_range(model: ir.Model) -> Iterator[BrokenRule]:
    """Opsets 9 to 25 (*Opsets*); ONNX has had INT4 and blocks since 21."""
    opset = model.opset_imports.get("", 0)
    int4 = any(_type(node.inputs[0]) == "INT4" for node in _dequantizers(model))
    if not (21 if int4 else 9) <= opset <= 25:
        yield BrokenRule(opset_range.__name__, "model", f"opset {opset}" + " with INT4" * int4)


def signed_codes(model: ir.Model) -> Iterator[BrokenRule]:
    """Codes are INT8 or INT4, signed. *Operators*: DequantizeLinear; *Header*: input type."""
    for node in _dequantizers(model):
        if (dtype := _type(node.inputs[0])) not in ("INT8", "INT4"):
            yield _broken(signed_codes, node, f"codes of type {dtype}")


def no_uint8_inside(model: ir.Model) -> Iterator[BrokenRule]:
    """UINT8 only as an input or output of the network. *Operators*: third note."""
    for value in model.graph.initializers.values():
        if _type(value) == "UINT8":
            yield BrokenRule(no_uint8_inside.__name__, str(value.name), "a UINT8 constant")


def only_dequantized(model: ir.Model) -> Iterator[BrokenRule]:
    """INT8 and INT4 are for quantization only: nothing else reads such constants.

    *Operators*: second note, and the types of Gather, Reshape and Transpose.
    """
    for value in model.graph.initializers.values():
        if _type(value) in ("INT8", "INT4"):
            for node in value.consumers():
                if node.op_type not in _Q_DQ:
                    problem = f"{node.op_type} reads {_type(value)} codes"
                    yield _broken(only_dequantized, node, problem)


def symmetric(model: ir.Model) -> Iterator[BrokenRule]:
    """No zero point, or zeros. *Header*: "only symmetric quantization"; *Operators*."""
    for node in _quantizers(model):
        if len(node.inputs) > 2 and (zeros := node.inputs[2]) is not None:
            values = _constant(zeros)
            if values is None or np.any(values.astype(np.float32)):
                yield _broken(symmetric, node, "a zero point that is not a constant of zeros")


def positive_scales(model: ir.Model) -> Iterator[BrokenRule]:
    """Scales are build-time constants above zero. *Header*: scale."""
    for node in _quantizers(model):
        scales = _constant(node.inputs[1])
        if scales is None:
            yield _broken(positive_scales, node, "scales that are not a constant")
        elif not (np.isfinite(scales).all() and (scales > 0).all()):
            yield _broken(positive_scales, node, "scales that are not positive and finite")


def per_channel_constants(model: ir.Model) -> Iterator[BrokenRule]:
    """Only constants have per-channel scales, one for each channel. *Header*: per-channel."""
    for node in _dequantizers(model):
        if (axis := _channel_axis(node)) is None:
            continue
        codes, scales = _constant(node.inputs[0]), _constant(node.inputs[1])
        if codes is None:
            yield _broken(per_channel_constants, node, "activations dequantized per channel")
        elif scales is not None and scales.size != codes.shape[axis]:
            problem = f"{scales.size} scales for {codes.shape[axis]} channels"
            yield _broken(per_channel_constants, node, problem)


def output_channel_axis(model: ir.Model) -> Iterator[BrokenRule]:
    """A weight's scales run along its output channels. *Header*: axis K of KCRS weights."""
    for node in _dequantizers(model):
        if (axis := _channel_axis(node)) is not None:
            for user, outputs in _output_axes(node):
                if axis != outputs:
                    problem = f"scales along axis {axis}, the outputs of {user} are axis {outputs}"
                    yield _broken(output_channel_axis, node, problem)


def int8_unblocked(model: ir.Model) -> Iterator[BrokenRule]:
    """Blocks are for INT4 (and FP8, FP4), not INT8. *Header*: block dequantization."""
    for node in _dequantizers(model):
        if _type(node.inputs[0]) == "INT8" and _block(node):
            yield _broken(int8_unblocked, node, f"INT8 in blocks of {_block(node)}")


def int4_blocks(model: ir.Model) -> Iterator[BrokenRule]:
    """INT4 is in whole blocks of 64 or 128 along one of the last two axes.

    *Schemes*: INT4 needs a scale per block, with block sizes {64, 128}; *Header*: shape of scale.
    """
    for node in _dequantizers(model):
        if _type(node.inputs[0]) != "INT4":
            continue
        size, shape = _block(node), _shape(node.inputs[0])
        axis = node.attributes.get_int("axis", 1) % len(shape)
        if size not in TENSORRT_BLOCKS:
            yield _broken(int4_blocks, node, f"INT4 with block size {size}, not 64 or 128")
        elif len(shape) - axis > 2 or shape[axis] % size:
            yield _broken(int4_blocks, node, f"blocks of {size} along axis {axis} of {shape}")


def int4_gemm_only(model: ir.Model) -> Iterator[BrokenRule]:
    """INT4 only for the weights of matrix products, in blocks along the axis summed over.

    *Guide*, "Weight-Only Quantization": for INT4 blocks with GEMM layers only.
    """
    for node in _dequantizers(model):
        if _type(node.inputs[0]) != "INT4":
            continue
        axis = node.attributes.get_int("axis", 1) % 2
        users = list(_output_axes(node))
        if {user for user, _ in users} - {"MatMul", "Gemm"} or not users:
            names = ", ".join(sorted({use.op_type for use in _consumers(node)})) or "nothing"
            yield _broken(int4_gemm_only, node, f"an INT4 weight read by {names}")
        elif any(outputs == axis for _, outputs in users):
            yield _broken(int4_gemm_only, node, "INT4 blocks along the output channels")


Rule: TypeAlias = Callable[[Any], Iterator[BrokenRule]]

RULES: tuple[Rule, ...] = (
    standard_operators,
    opset_range,
    signed_codes,
    no_uint8_inside,
    only_dequantized,
    symmetric,
    positive_scales,
    per_channel_constants,
    output_channel_axis,
    int8_unblocked,
    int4_blocks,
    int4_gemm_only,
)

_Q_DQ = ("QuantizeLinear", "DequantizeLinear")
_MISSING = frozenset(
    "BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor ConvInteger DynamicQuantizeLinear "
    "MatMulInteger QLinearConv QLinearMatMul".split()
)


def _broken(rule: Rule, node: ir.Node, problem: str) -> BrokenRule:
    return BrokenRule(rule.__name__, node.name or str(node.outputs[0].name), problem)


def _dequantizers(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph.all_nodes() if node.op_type == "DequantizeLinear")


def _quantizers(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph.all_nodes() if node.op_type in _Q_DQ)


def _type(value: ir.Value | None) -> str:
    return "" if value is None or value.dtype is None else value.dtype.name


def _constant(value: ir.Value | None) -> Any:
    """The values of an initializer, else None."""
    is_constant = value is not None and value.is_initializer() and value.const_value is not None
    return cast(Any, value).const_value.numpy() if is_constant else None


def _shape(value: ir.Value | None) -> list[int]:
    shape = None if value is None else value.shape
    return [] if shape is None else [int(size) for size in shape if isinstance(size, int)]


def _block(node: ir.Node) -> int:
    return int(node.attributes.get_int("block_size", 0) or 0)


def _channel_axis(node: ir.Node) -> int | None:
    """The axis that the scales run along, if there is one for each channel."""
    scales = _shape(node.inputs[1])
    if _block(node) or len(scales) != 1 or scales == [1]:
        return None
    return int(node.attributes.get_int("axis", 1) or 0) % max(1, len(_shape(node.inputs[0])))


def _consumers(node: ir.Node) -> tuple[ir.Node, ...]:
    return tuple(node.outputs[0].consumers())


def _output_axes(node: ir.Node, rank: int | None = None) -> Iterator[tuple[str, int]]:
    """The layers that read a weight, and which of its axes holds their output channels."""
    rank = rank or len(_shape(node.inputs[0]))
    for user in _consumers(node):
        if user.op_type == "Transpose" and rank == 2:
            yield from ((name, 1 - axis) for name, axis in _output_axes(user, rank))
        elif user.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            if user.inputs[1] is node.outputs[0]:
                yield user.op_type, _output_axis(user, rank)
        elif user.op_type == "Gather":
            yield user.op_type, 0


def _output_axis(user: ir.Node, rank: int) -> int:
    if user.op_type == "MatMul":
        return rank - 1
    if user.op_type == "Gemm":
        return 0 if user.attributes.get_int("transB", 0) else 1
    return 0 if user.op_type == "Conv" else 1
