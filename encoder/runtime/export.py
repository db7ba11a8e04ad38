"""Turn a torch module into an ONNX file that is known to agree with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoder.errors import ModelError
from encoder.runtime.base import Array, Session
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.torch import TorchSession

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.onnx import ONNXProgram

_OPSET = 20


def export_onnx(
    module: nn.Module,
    examples: Sequence[Mapping[str, Array]],
    path: Path,
    *,
    dynamic_axes: Mapping[str, Sequence[int]],
    tolerance: float = 1e-4,
) -> float:
    """Write ``path`` and compare it with the module on every example.

    Args:
        module: takes tensors by keyword.
        examples: inputs by name; the first is traced, so its dynamic axes must exceed 1.
        path: the ``.onnx`` file to write.
        dynamic_axes: the axes of each input whose length may vary.
        tolerance: the largest absolute difference that is accepted.

    Returns:
        The largest absolute difference found.

    Raises:
        ModelError: ONNX Runtime and torch differ by more than ``tolerance``.
    """
    _write(module, examples[0], path, dynamic_axes)
    difference = _compare(module, examples, path)
    if not difference <= tolerance:
        raise ModelError(
            f"{path.name}: ONNX Runtime differs from torch by {difference:.2g}, "
            f"more than {tolerance:.2g}.",
            remedy="Install the versions of torch and onnxruntime that pyproject.toml names.",
        )
    return difference


def _write(
    module: nn.Module,
    example: Mapping[str, Array],
    path: Path,
    dynamic_axes: Mapping[str, Sequence[int]],
) -> None:
    import torch

    inputs = {name: torch.from_numpy(array) for name, array in example.items()}
    program = trace(module, inputs, dynamic_axes)
    program.optimize()
    program.save(path)


def trace(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    dynamic_axes: Mapping[str, Sequence[int]],
    *,
    opset: int = _OPSET,
) -> ONNXProgram:
    """The module as an ONNX program, not yet optimized: the weights are as torch has them.

    Args:
        module: takes tensors by keyword.
        inputs: one call; its dynamic axes must exceed 1.
        dynamic_axes: the axes of each input whose length may vary.
        opset: the version of ONNX's operators.
    """
    import torch
    from torch.export import Dim

    dynamic = {
        name: {axis: Dim.DYNAMIC for axis in dynamic_axes.get(name, ())}  # noqa: C420
        for name in inputs
    }
    with warnings.catch_warnings():
        # the exporter warns about its own internals
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs=dict(inputs),
            input_names=list(inputs),
            dynamic_shapes=dynamic,
            opset_version=opset,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return program


def _compare(module: nn.Module, examples: Sequence[Mapping[str, Array]], path: Path) -> float:

    sessions: tuple[Session, Session] = (OnnxSession(path), TorchSession(module))
    return max(
        float(np.abs(a - b).max())
        for example in examples
        for a, b in zip(*(session.run(example) for session in sessions), strict=True)
    )
