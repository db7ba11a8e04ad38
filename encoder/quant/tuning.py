"""Tune a quantized model towards the original's output: codes, scales, biases and norms together.

Rounding goes layer by layer and sees each layer's own output. Here the whole quantized model is
trained to give what the original gives (distillation, Hinton et al. 2015), on data without labels.
Codes are rounded in the forward pass, and gradients pass straight through (Bengio et al. 2013);
scales are learned along with them, as in LSQ (Esser et al. 2020). Importing this imports torch.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from encoder.errors import InputError
from encoder.quant.calibration import Batch, Objective, divergence, forward, run
from encoder.quant.export_onnx import float_twin
from encoder.quant.report import progress_bar
from encoder.quant.stored import StoredLayer, stored_in_modules
from encoder.quant.weights import PackedWeight, Rounded, float16_scales, spread

_WARM_UP = 0.1
_BETAS = (0.9, 0.99)
_MARGIN = 0.45
"""As a share of a step: how far from its code a weight may start."""


@dataclass(frozen=True)
class Rates:
    """About how far one step of Adam (Kingma & Ba, 2015) moves what is tuned, at most.

    Args:
        codes: in steps of the layer's grid.
        scales: as a share of the scale.
        floats: biases and norms, as a share of their root mean square.
    """

    codes: float = 0.001
    scales: float = 0.0005
    floats: float = 0.001


def tune(
    original: nn.Module,
    quantized: nn.Module,
    batches: Iterable[Batch],
    *,
    objective: Objective,
    n_steps: int,
    rates: Rates | None = None,
    show: bool = False,
) -> nn.Module:
    """Train a copy of a quantized model to give what the original gives.

    A weight starts at its original value, as far as its code allows, so that codes which were
    not rounded to the nearest are the first to change. Tied weights, float weights and those of
    LSTM, GRU and RNN stay as they are. The rate falls to zero, so the last state is the one to
    keep.

    Raises:
        InputError: ``batches`` are empty, or ``n_steps`` is below 1.
        ModelError: the model fails on a batch.
    """
    if n_steps < 1:
        raise InputError("n_steps", got=str(n_steps), wanted="at least 1")
    student, grids = _student(original, quantized)
    optimizer = torch.optim.Adam(_groups(student, rates or Rates()), betas=_BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(step, n_steps))
    with progress_bar("Tuning", n_steps, show=show) as advance:
        for batch in islice(_again_and_again(batches), n_steps):
            target = run(original, batch).clone()  # out of inference mode
            loss = divergence(objective, target, forward(student, batch).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            advance(f"{loss.item():.3g}")
    return _stored(quantized, student, grids)


def share(step: int, n_steps: int) -> float:
    """The share of the full rate at a step: up in the first tenth, then down a half cosine.

    >>> [round(share(step, 10), 2) for step in (0, 1, 5, 9)]
    [1.0, 1.0, 0.59, 0.03]
    """
    n_up = max(1, round(_WARM_UP * n_steps))
    if step < n_up:
        return (step + 1) / n_up
    return 0.5 * (1 + math.cos(math.pi * (step - n_up) / max(1, n_steps - n_up)))


class Grid(nn.Module):
    """A parametrization of a weight by positions on its grid, in steps, rounded in the forward."""

    start: Tensor

    def __init__(self, layer: StoredLayer) -> None:
        super().__init__()
        self.scheme = layer.scheme
        self.layout = layer.layout
        self.register_buffer("start", layer.packed_weight.scales.float())
        self.log_change = nn.Parameter(torch.zeros_like(self.start))

    @property
    def scales(self) -> Tensor:
        """float32 [n_rows, n_groups]."""
        return self.start * self.log_change.exp()

    def codes(self, positions: Tensor) -> Tensor:
        """Whole numbers in the scheme's range, with the gradient of the positions."""
        inside = positions.clamp(-self.scheme.largest_code - 1, self.scheme.largest_code)
        return inside + (inside.round() - inside).detach()

    def forward(self, positions: Tensor) -> Tensor:
        """The weight in its own shape, from positions [n_rows, n_columns]."""
        return self.layout.weight(spread(self.scales, positions.shape[1]) * self.codes(positions))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Positions of a weight."""
        rows = self.layout.rows(weight.detach())
        return rows / spread(self.start, rows.shape[1])


def _student(original: nn.Module, quantized: nn.Module) -> tuple[nn.Module, dict[_Place, Grid]]:
    """A float copy whose untied integer weights are grids; and these grids by weight."""
    student = float_twin(quantized)
    student.requires_grad_(True)
    layers = _by_place(quantized)
    weights = {path: _at(student, path) for path in layers}
    n_owners = Counter(map(id, weights.values()))
    grids = {}
    for path, layer in layers.items():
        single = n_owners[id(weights[path])] == 1
        if single and layer.scheme.is_integer and not isinstance(layer.module, nn.RNNBase):
            grids[path] = _lay(student, original, path, layer)
        else:
            weights[path].requires_grad_(False)
    return student, grids


_Place = tuple[str, str]
"""The names of a module and of one of its parameters."""


def _by_place(quantized: nn.Module) -> dict[_Place, StoredLayer]:
    return {(name, layer.parameter): layer for name, layer in stored_in_modules(quantized)}


def _at(model: nn.Module, path: _Place) -> Tensor:
    return cast(Tensor, getattr(model.get_submodule(path[0]), path[1]))


def _lay(student: nn.Module, original: nn.Module, path: _Place, layer: StoredLayer) -> Grid:
    grid, original_weight = Grid(layer), _at(original, path)
    parametrize.register_parametrization(student.get_submodule(path[0]), path[1], grid)
    wished = grid.right_inverse(original_weight)
    with torch.no_grad():
        positions = _positions(student, path)
        codes = positions.round()
        positions.copy_(codes + (wished - codes).clamp(-_MARGIN, _MARGIN))
    return grid


def _positions(student: nn.Module, path: _Place) -> Tensor:
    owner: Any = student.get_submodule(path[0])
    return cast(Tensor, owner.parametrizations[path[1]].original)


def _groups(student: nn.Module, rates: Rates) -> Iterator[dict[str, Any]]:
    for name, parameter in student.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith(".original"):
            rate = rates.codes
        elif name.endswith(".log_change"):
            rate = rates.scales
        else:
            rate = rates.floats * float(parameter.detach().square().mean().sqrt())
        yield {"params": [parameter], "lr": rate}


def _again_and_again(batches: Iterable[Batch]) -> Iterator[Batch]:
    n = 1
    while n:
        n = 0
        for n, batch in enumerate(batches, 1):  # noqa: B007
            yield batch
    raise InputError("batches", got="none left to tune with", wanted="a list, or enough batches")


@torch.no_grad()
def _stored(quantized: nn.Module, student: nn.Module, grids: dict[_Place, Grid]) -> nn.Module:
    """A copy of the quantized model with the codes, scales and floats of the student."""
    tuned = copy.deepcopy(quantized)
    for path, layer in _by_place(tuned).items():
        if grid := grids.get(path):
            positions = _positions(student, path)
            codes = grid.codes(positions).round().to(torch.int8)
            rounded = Rounded(codes, float16_scales(grid.scales))
            weight = PackedWeight.of_codes(rounded, layer.scheme)
            layer.packed.copy_(weight.packed)
            layer.scales.copy_(weight.scales)
    floats = dict(student.named_parameters())
    for name, parameter in tuned.named_parameters():
        parameter.copy_(floats[name])
    return tuned.eval()
