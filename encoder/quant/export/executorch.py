"""Write a quantized model for ExecuTorch: XNNPACK multiplies its codes as they are.

Linear layers run on INT8 or INT4 weights with activations in INT8, a scale for each token; rows of
token tables are looked up as codes. Convolutions would need activations with a single scale,
depthwise ones even a scale that is fixed beforehand: they go into the file as float32, as does all
else.
Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import ModelError
from encoder.quant.export.quantized_onnx import flat, float_twin
from encoder.quant.packing import unpack
from encoder.quant.stored import StoredLayer, stored_in_modules
from encoder.quant.weights import spread
from encoder.system.extras import require_executorch

LEAST_COSINE = 0.99
"""The least cosine between the outputs and torch's, whose activations are float32."""
LEAST_TOKENS, MAX_TOKENS = 2, 512
"""Bounds of a text's length."""

Range = tuple[str, int, int]
"""The name of an axis, its least length and its greatest."""


@dataclass(frozen=True)
class ExecutorchReport(PathLike[str]):
    """What was written; can be used as a path.

    Args:
        path: the ``.pte`` file.
        nbytes: its size.
        cosine: the least cosine between ExecuTorch's outputs on this machine and torch's.
        notes: which layers are stored differently from in memory.
    """

    path: Path
    nbytes: int
    cosine: float
    notes: tuple[str, ...] = ()

    def __fspath__(self) -> str:
        return str(self.path)


def export_executorch(
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    path: Path,
    *,
    max_tokens: int = MAX_TOKENS,
    least_cosine: float = LEAST_COSINE,
) -> ExecutorchReport:
    """Write a quantized model to ``path``, run it with ExecuTorch and compare it with torch.

    Args:
        model: its layers were swapped by `encoder.quant.stored.swap`; others stay as they are.
        inputs: one call's inputs, by name. In the file, token ids [n, length] and inputs of the
            same shape can have any length from 2 to ``max_tokens``; all other axes are fixed.
        path: the ``.pte`` file.
        max_tokens: of a text.
        least_cosine: between the outputs and torch's; below it, the export fails.

    Raises:
        MissingExtraError: ExecuTorch is not installed.
        ModelError: the outputs are further from torch's than ``least_cosine``.
    """
    require_executorch()
    twin, notes = _with_codes(model.eval())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lowered(twin, inputs, _lengths(inputs, max_tokens)))
    with torch.inference_mode():
        wanted = flat(model(**inputs))
    cosine = min(map(_cosine, wanted, _run(path, inputs)))
    if not cosine >= least_cosine:
        raise ModelError(
            f"{path.name}: ExecuTorch's outputs have a cosine of {cosine:.4f} to torch's, less "
            f"than {least_cosine:g}.",
            remedy="Keep more layers in fp32, or lower least_cosine.",
        )
    return ExecutorchReport(path, path.stat().st_size, cosine, tuple(notes))


class Lookup(nn.Module):
    """A token table that is stored as codes.

    Args:
        codes: int8 [n, dim].
        scales: float32 [n, n_groups]; one for each row in 8 bits.
        n_bits: 8 or 4.
    """

    def __init__(self, codes: Tensor, scales: Tensor, n_bits: int) -> None:
        super().__init__()
        self.n_bits = n_bits
        self.register_buffer("codes", nibbles(codes) if n_bits == 4 else codes)
        self.register_buffer("scales", scales)

    @classmethod
    def of(cls, layer: StoredLayer) -> Lookup:
        """Make one from a table that is INT8 with a scale for each row, or INT4."""
        return cls(_codes(layer), layer.scales.float(), _width(layer))

    @property
    def weight(self) -> Tensor:
        """The whole table in float32 [n, dim], for models that pick rows themselves."""
        codes = cast(Tensor, self.codes).float()
        if self.n_bits == 4:  # by arithmetic, since ExecuTorch shifts no bits
            high = torch.floor(codes / 16)
            codes = torch.stack([high, codes - 16 * high], 2).flatten(1) - 8
        return spread(cast(Tensor, self.scales), codes.shape[1]) * codes

    def forward(self, input_ids: Tensor) -> Tensor:
        """Token ids of any shape: float32 [*shape, dim]."""
        operators: Any = torch.ops.quantized_decomposed
        if self.n_bits == 4:
            found = operators.embedding_4bit(self.codes, self.scales, None, -8, 7, input_ids)
        else:
            found = operators.embedding_byte(self.codes, self.scales, None, -128, 127, input_ids)
        rows: Tensor = found
        return rows


def nibbles(codes: Tensor) -> Tensor:
    """INT4 codes [n, d] as in ExecuTorch's tables: counted from 0, the first in the high half.

    >>> nibbles(torch.tensor([[-8, 7, 0, 1]], dtype=torch.int8))
    tensor([[ 15, 137]], dtype=torch.uint8)
    """
    raised = (codes.to(torch.int16) + 8).to(torch.uint8)
    return (raised[:, 0::2] << 4) | raised[:, 1::2]


def _with_codes(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """A float copy in which the layers that XNNPACK takes have codes; and notes on the others."""
    twin = float_twin(model)
    left = []
    for name, layer in stored_in_modules(model):
        module = twin.get_submodule(name)
        if not _takes(layer, module):
            left += [name] if layer.scheme.bits < 32 else []
        elif isinstance(module, nn.Linear):
            weight = linear_weight(_codes(layer), layer.scales.float(), _width(layer))
            module.weight = nn.Parameter(weight, requires_grad=False)
        else:
            twin.set_submodule(name, Lookup.of(layer))
    return twin, [f"stored as FP32: {', '.join(left)}"] if left else []


def _lengths(inputs: Mapping[str, Tensor], max_tokens: int) -> dict[str, dict[int, Range]]:
    tokens = {x.shape for x in inputs.values() if x.ndim == 2 and not x.is_floating_point()}
    length = ("length", LEAST_TOKENS, max_tokens)
    return {name: {1: length} for name, x in inputs.items() if x.shape in tokens}


def _takes(layer: StoredLayer, module: nn.Module) -> bool:
    scheme, n_columns = layer.scheme, layer.layout.n_columns
    if not scheme.is_integer or layer.parameter != "weight":
        return False
    if isinstance(module, nn.Linear):
        return _width(layer) == 4 if scheme.group else True
    is_plain = type(module) is nn.Embedding and module.max_norm is None
    return is_plain and (n_columns % 2 == 0 if _width(layer) == 4 else scheme.group is None)


def _width(layer: StoredLayer) -> int:
    """The width in the file: narrower codes are stored in the next available width."""
    return 4 if layer.scheme.bits <= 4 else 8


def _codes(layer: StoredLayer) -> Tensor:
    return unpack(layer.packed, layer.scheme.bits, layer.layout.n_columns).contiguous()


def linear_weight(codes: Tensor, scales: Tensor, n_bits: int) -> Tensor:
    """The weight of a linear layer whose products XNNPACK computes in integers.

    Args:
        codes: int8 [n_out, n_in].
        scales: float32 [n_out, n_groups]; one for each row in 8 bits.
        n_bits: 8 or 4.
    """
    from torchao.quantization import IntxUnpackedToInt8Tensor

    made: Tensor = IntxUnpackedToInt8Tensor(
        codes,
        scales,
        torch.zeros_like(scales, dtype=torch.int8),
        getattr(torch, f"int{n_bits}"),
        (1, codes.shape[1] // scales.shape[1]),
        torch.float32,
        "int8_asym_per_token",
    )
    return made


def lowered(
    module: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, Mapping[int, Range]]
) -> bytes:
    """The program of a module, in which XNNPACK computes the parts that it supports.

    Args:
        module: ready for inference.
        inputs: one call's inputs, by name.
        axes: the ranges of the inputs' dynamic axes; axes with the same range have equal length.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    # registers the operators for tables
    from executorch.exir.passes import _quant_patterns_and_replacements  # noqa: F401

    spans = {span for one in axes.values() for span in one.values()}
    dims = {span: torch.export.Dim(span[0], min=span[1], max=span[2]) for span in spans}
    shapes = {
        name: {axis: dims[span] for axis, span in axes.get(name, {}).items()} for name in inputs
    }
    with torch.no_grad():
        program = torch.export.export(module, (), dict(inputs), dynamic_shapes=shapes)
        edge = to_edge_transform_and_lower(
            program,
            partitioner=[XnnpackPartitioner()],
            # look-ups in tables of codes are not core operators
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
        )
    buffer: bytes = edge.to_executorch().buffer
    return buffer


def open_method(path: Path) -> Any:
    """The method to run: its ``execute`` takes tensors in the order of the export's inputs."""
    import executorch.kernels.quantized  # noqa: F401 - registers tables of codes
    from executorch.runtime import Runtime

    return Runtime.get().load_program(path).load_method("forward")


def _run(path: Path, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    outputs: list[Tensor] = open_method(path).execute([x.contiguous() for x in inputs.values()])
    return outputs


def _cosine(wanted: Tensor, found: Tensor) -> float:
    return float(functional.cosine_similarity(wanted.flatten(), found.flatten(), dim=0))
