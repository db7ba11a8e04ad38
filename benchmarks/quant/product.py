"""Our own int8 networks in the same form as the peers: as they are, and as the towers feed them.

Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.peers.base import BuildRun, Inputs, Run
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.model import network, parse_precision
from encoder.runtime.base import Session


def of_the_bundle(part: str) -> BuildRun:
    """The network that ``MultiModalEncoder(quantization="int8")`` runs for a part of the bundle."""

    def build(_model: nn.Module, _calibration: Sequence[Inputs]) -> Run:
        bundle = read_bundle("english")
        files = network(bundle, location(bundle), part)
        return _running(parse_precision(bundle, "int8").open(files, 1))

    return build


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
