"""Which layers int8 would hurt: those with outliers that one scale for a row cannot hold."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.onnx.int8_bert import quantize_rows
from encoder.onnx.linears import Linear, linears
from encoder.onnx.network import Network
from encoder.runtime.onnx import OnnxSession

_MAX_CODE = 127
_MAX_ROWS = 256
_TINY = 1e-30


def local_errors(source: Path, examples: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, float]:
    """How far each layer's int8 outputs are from its float32 outputs.

    Args:
        source: a float32 network.
        examples: inputs by name, one run each; the first 256 rows of a layer count.

    Returns:
        By layer, norm of the difference over norm of the output: the greatest of all examples.
        Pass the layers above a bound to `quantize_linears` as ``keep``; .02 is usual, and .1 shows
        in the vectors.
    """
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        path = Path(folder) / "states.onnx"
        network = Network(source, path)
        layers = list(linears(network))
        states = list(dict.fromkeys(layer.states for layer in layers))
        network.show(states)
        network.save()
        session = OnnxSession(path)
        worst: dict[str, float] = {}
        for example in examples:
            seen = dict(zip(states, session.run(example)[-len(states) :], strict=True))
            for layer in layers:
                error = _error(layer, seen[layer.states])
                worst[layer.name] = max(error, worst.get(layer.name, 0.0))
    return worst


def _error(layer: Linear, states: NDArray[np.float32]) -> float:
    rows = states.reshape(-1, states.shape[-1])[:_MAX_ROWS]
    steps = np.maximum(np.abs(rows).max(axis=1, keepdims=True) / _MAX_CODE, _TINY)
    codes, scales = quantize_rows(layer.weight)
    wanted = rows @ layer.weight.T
    found = (np.rint(rows / steps) * steps) @ (codes * scales[:, None]).T
    return float(np.linalg.norm(found - wanted)) / max(float(np.linalg.norm(wanted)), _TINY)
