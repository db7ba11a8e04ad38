"""OpenVINO on one thread: float32, bfloat16 and int8 by NNCF's post-training quantization."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.base import Inputs, Run
from benchmarks.peers.onnxruntime import write_onnx


def float32(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """The exported model, activations held in float32."""
    return _compile(_convert(model, calibration[0]), "f32")


def bfloat16(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """As `float32` with bfloat16 requested; a CPU without it runs float32."""
    return _compile(_convert(model, calibration[0]), "bf16")


def int8(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """NNCF's defaults, and its transformer preset where there is no convolution."""
    import nncf

    has_convolution = any(isinstance(module, nn.Conv2d) for module in model.modules())
    data = [{name: x.numpy() for name, x in inputs.items()} for inputs in calibration]
    quantized = nncf.quantize(
        _convert(model, calibration[0]),
        nncf.Dataset(data),
        subset_size=len(data),
        model_type=None if has_convolution else nncf.ModelType.TRANSFORMER,
    )
    # where there is bfloat16 the rest of the graph uses it, as the library does by default
    return _compile(quantized, None)


def _convert(model: nn.Module, example: Inputs) -> Any:
    import openvino

    with tempfile.TemporaryDirectory() as scratch:
        # the weights are read into memory: the folder can be removed
        return openvino.convert_model(write_onnx(model, example, Path(scratch) / "model.onnx"))


def _compile(converted: Any, precision: str | None) -> Run:
    import openvino

    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    request = openvino.Core().compile_model(converted, "CPU", config).create_infer_request()

    def run(inputs: Inputs) -> Tensor:
        feeds = {name: x.numpy() for name, x in inputs.items()}
        outputs = request.infer(feeds, share_inputs=True)
        return torch.from_numpy(outputs[0])

    return run
