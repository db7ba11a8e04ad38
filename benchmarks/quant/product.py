"""Our own int8 networks in the same form as the peers: as they are, and as the towers feed them.

Importing this imports torch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.peers.base import BuildRun, Inputs, Run
from benchmarks.peers.onnxruntime import write_onnx
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.model import network, parse_precision
from encoder.onnx.static import activation_ranges, quantize_static
from encoder.runtime.base import Session
from encoder.runtime.onnx import OnnxSession


def of_the_bundle(part: str) -> BuildRun:
    """The network that ``MultiModalEncoder(quantization="int8")`` runs for a part of the bundle."""

    def build(_model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
        bundle = read_bundle("english")
        files = network(bundle, location(bundle), part)
        return _running(parse_precision(bundle, "int8").open(files, 1))

    return build


def static_int8(model: nn.Module, calibration: Sequence[Inputs]) -> Run:
    """A convolutional network outside the bundle, made like the bundle's."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "model.onnx", Path(scratch) / "int8.onnx"
        write_onnx(model, calibration[0], source)
        examples = [{name: x.numpy() for name, x in inputs.items()} for inputs in calibration]
        quantize_static(source, target, activation_ranges(source, examples))
        return _running(OnnxSession(target, n_threads=1))


def in_portions(run: Run, n_rows: int) -> Run:
    """Feed ``n_rows`` rows at a time, as the towers do: what stays in the cache is faster."""

    def portioned(inputs: Inputs) -> torch.Tensor:
        n = len(next(iter(inputs.values())))
        portions = (range(n)[start : start + n_rows] for start in range(0, n, n_rows))
        cut = ({k: x[p.start : p.stop] for k, x in inputs.items()} for p in portions)
        return torch.cat([run(portion) for portion in cut])

    return portioned


def _running(session: Session) -> Run:
    def run(inputs: Inputs) -> torch.Tensor:
        return torch.from_numpy(session.run({name: x.numpy() for name, x in inputs.items()})[0])

    return run
