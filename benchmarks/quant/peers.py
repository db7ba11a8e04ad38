"""How other runtimes run a torch network, on one thread; each works on a copy of the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoder.quant.tracing import trace

Inputs = Mapping[str, Tensor]
"""A batch: the model's inputs by keyword."""
Run = Callable[[Inputs], Tensor]
"""The model's output for a batch."""


def eager(model: nn.Module, _: Sequence[Inputs]) -> Run:
    """The baseline: torch in float32, in inference mode."""

    @torch.inference_mode()
    def run(inputs: Inputs) -> Tensor:
        output: Tensor = model.eval()(**inputs)
        return output

    return run


def onnxruntime_float32(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """The exported model with all of the runtime's own graph optimisations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as scratch:
        path = write_onnx(model, calibration[0], Path(scratch) / "model.onnx")
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(
        session.run(None, {name: x.numpy() for name, x in inputs.items()})[0]
    )


def openvino_int8(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """NNCF's post-training quantization, with its transformer preset without a convolution.

    Where there is bfloat16 the rest of the graph uses it, as the library does by default.
    """
    import nncf
    import openvino

    has_convolution = any(isinstance(module, nn.Conv2d) for module in model.modules())
    data = [{name: x.numpy() for name, x in inputs.items()} for inputs in calibration]
    with tempfile.TemporaryDirectory() as scratch:
        path = write_onnx(model, calibration[0], Path(scratch) / "model.onnx")
        converted = openvino.convert_model(path)  # the weights are read into memory
    quantized = nncf.quantize(
        converted,
        nncf.Dataset(data),
        subset_size=len(data),
        model_type=None if has_convolution else nncf.ModelType.TRANSFORMER,
    )
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(quantized, "CPU", config).create_infer_request()
    return lambda inputs: torch.from_numpy(
        request.infer({name: x.numpy() for name, x in inputs.items()}, share_inputs=True)[0]
    )


def write_onnx(model: nn.Module, example: Inputs, path: Path) -> Path:
    """Export with a free number of rows and, for inputs with two axes, a free length."""
    free = {name: (0, 1) if x.dim() == 2 else (0,) for name, x in example.items()}
    program = trace(model, example, free)
    program.optimize()
    program.save(path)
    return path


PEERS: Mapping[str, Callable[[nn.Module, Sequence[Inputs]], Run]] = {
    "torch fp32 eager": eager,
    "ONNX Runtime fp32": onnxruntime_float32,
    "OpenVINO int8 (NNCF)": openvino_int8,
}
