"""How other libraries run fast.

A peer is a function ``module:name`` in the table below, a `benchmarks.peers.base.BuildRun`; its
library is imported when it is called. The libraries are in the dependency group ``bench-quant``,
not in the project's own environment.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

SPEED: Mapping[str, str] = {
    "torch fp32 eager": "benchmarks.peers.torch_compile:eager",
    "torch.compile fp32": "benchmarks.peers.torch_compile:float32",
    "torch.compile bf16": "benchmarks.peers.torch_compile:bfloat16",
    "torchao int8 dynamic, compiled": "benchmarks.peers.torchao:int8_dynamic",
    "ONNX Runtime fp32": "benchmarks.peers.onnxruntime:float32",
    "ONNX Runtime int8 dynamic, plain": "benchmarks.peers.onnxruntime:int8_dynamic",
    "ONNX Runtime int8 dynamic, reduced range": "benchmarks.peers.onnxruntime:int7_dynamic",
    "OpenVINO fp32": "benchmarks.peers.openvino:float32",
    "OpenVINO bf16": "benchmarks.peers.openvino:bfloat16",
    "OpenVINO int8 (NNCF)": "benchmarks.peers.openvino:int8",
}


def load(peer: str) -> Any:
    """The function behind a value of the table.

    Raises:
        ModuleNotFoundError: the library is not installed: run ``make bench-quant``.
    """
    module, _, name = peer.partition(":")
    return getattr(importlib.import_module(module), name)
