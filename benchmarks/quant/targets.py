"""Nine published networks, allocated for a runtime, exported for it, and run where it runs here.

Importing this imports torch.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness.reporting import Settings, in_own_process, note, report
from benchmarks.harness.results_pages import table
from benchmarks.quant.networks.published import NETWORKS
from encoder.quant.export.tensorrt import check_tensorrt
from encoder.quant.quantized import QuantizedModel
from encoder.quant.quantizer import Quantizer

_N_ITEMS = 4
_SCHEMES = ("int4g64", "int8")
_INTRO = (
    "Random weights, published sizes; 4 pictures or texts of noise, sensitivity by Fisher's "
    "information, plain rounding: what is tested is that a file is written and gives what torch "
    "gives, not how good it is. TensorRT was not run: findings are those of `check_tensorrt`. "
    "Differences are the largest of the first output to torch, as a share of its largest value, "
    "all with float activations."
)
_HEADINGS = ["network", "target", "× smaller", "schemes", "MB", "difference to torch", "CPU s"]


def main(settings: Settings) -> None:
    """Every network for every target, each network in its own process."""
    names = list(NETWORKS)[: settings.items(len(NETWORKS), 1)]
    rows = [row for name in names for row in in_own_process(__name__, name)["rows"]]
    report(settings, "Nine networks for three runtimes", _INTRO, table(_HEADINGS, rows))


def measure(name: str) -> list[list[str]]:
    """A row for each target; one that fails says why."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    model = network.make()
    data = network.batch(_N_ITEMS)
    quantizer = Quantizer(model, data, objective="cosine", rounding="rtn", progress=False)
    quantizer.analyze_sensitivity(mode="fisher", schemes=_SCHEMES)
    rows = []
    for target in network.targets:
        start = time.process_time()
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = quantizer.apply(bits=network.bits, target=target)
            try:
                size, said = _written(target, quantizer, made, data[-2:], Path(folder))
            except Exception as error:  # noqa: BLE001 - a row says what failed
                size, said = 0, f"failed: {type(error).__name__}: {str(error)[:120]}"
        schemes = ", ".join(sorted({str(scheme.name) for scheme in made.schemes.values()}))
        spent = f"{time.process_time() - start:.0f}"
        rows.append(
            [name, target, f"{made.compression:.2f}", schemes, f"{size / 1e6:.1f}", said, spent]
        )
        note(" ".join(rows[-1]))
    return rows


def _written(
    target: str, quantizer: Quantizer, made: QuantizedModel, inputs: Tensor, folder: Path
) -> tuple[int, str]:
    """The file's size, and what was found out about it."""
    exported = quantizer.export_onnx(folder / "model.onnx")
    with torch.no_grad():
        wanted = _FirstOutput(made.module)(inputs).numpy()
    feeds = inputs.numpy()
    said = f"ONNX Runtime {_difference(wanted, _onnxruntime(exported.path, feeds)):.0e}"
    if target == "tensorrt":
        return exported.nbytes, f"{said}; findings: {len(check_tensorrt(exported.path))}"
    by_openvino = _difference(wanted, _openvino(exported.path, feeds))
    return exported.nbytes, f"{said}; OpenVINO {by_openvino:.0e}"


def _onnxruntime(path: Path, inputs: Any) -> Any:
    """The first output, with weights as stored and float activations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(str(path), options)
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def _openvino(path: Path, inputs: Any) -> Any:
    """The first output in float32; by default activations of linear layers become INT8."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return openvino.Core().compile_model(str(path), "CPU", hints)(inputs)[0]


class _FirstOutput(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.model(inputs)
        first: Tensor = output if isinstance(output, Tensor) else output[0]
        return first


def _difference(wanted: Any, found: Any) -> float:
    return float(np.abs(wanted - found).max() / np.abs(wanted).max())


if __name__ == "__main__":
    print(json.dumps({"rows": measure(sys.argv[1])}))
