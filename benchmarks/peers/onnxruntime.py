"""ONNX Runtime used as documented: export, and dynamic int8 without fusion by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peers.base import Inputs, Run
from encoder.quant.tracing import trace


def float32(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """The exported model with all of the runtime's own graph optimisations."""
    with tempfile.TemporaryDirectory() as scratch:
        return _session(write_onnx(model, calibration[0], Path(scratch) / "model.onnx"))


def int8_dynamic(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """``quant_pre_process`` and ``quantize_dynamic`` with the defaults.

    Without VNNI these overflow (MiniLM's cosine to float32 falls to .95): see `int7_dynamic`.
    """
    return _dynamic(model, calibration[0], reduce_range=False)


def int7_dynamic(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """As `int8_dynamic` with 7-bit weights, which its documentation recommends without VNNI."""
    return _dynamic(model, calibration[0], reduce_range=True)


def _dynamic(model: nn.Module, example: Inputs, reduce_range: bool) -> Run:
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        exported = write_onnx(model, example, folder / "model.onnx")
        quant_pre_process(exported, folder / "prepared.onnx", skip_symbolic_shape=True)
        quantize_dynamic(folder / "prepared.onnx", folder / "int8.onnx", reduce_range=reduce_range)
        return _session(folder / "int8.onnx")


def write_onnx(model: nn.Module, example: Inputs, path: Path) -> Path:
    """Export with a free number of rows and, for inputs with two axes, a free length."""
    free = {name: (0, 1) if x.dim() == 2 else (0,) for name, x in example.items()}
    program = trace(model, example, free)
    program.optimize()
    program.save(path)
    return path


def _session(path: Path) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Tensor:
        feeds = {name: x.numpy() for name, x in inputs.items()}
        return torch.from_numpy(session.run(None, feeds)[0])

    return run
