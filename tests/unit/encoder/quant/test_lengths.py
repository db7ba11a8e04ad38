"""A file computes what the network does at all lengths of its axes, or says where it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from encoder.quant.export_onnx import ExportReport, export_onnx

pytestmark = pytest.mark.slow

EXAMPLE = (4, 10, 8)
BRANCHES: dict[str, tuple[Callable[[int, int], bool], tuple[int, int]]] = {
    "one": (lambda _, length: length == 1, (4, 1)),
    "a length": (lambda _, length: length == 7, (4, 7)),
    "long": (lambda _, length: length > 100, (4, 101)),
    "short": (lambda _, length: length < 3, (4, 2)),
    "multiples": (lambda _, length: length % 3 == 0, (4, 9)),
    "two axes": (lambda n, length: n + length == 4, (1, 3)),
}
"""When a forward takes its other branch, and lengths at which it does."""


class Branching(nn.Module):
    def __init__(self, turns: Callable[[int, int], bool], *, alike: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.turns, self.alike = turns, alike
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        if self.turns(x.shape[0], x.shape[1]):
            y = (y + y) / 2 if self.alike else y * 2
        return y


class Squeezing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + 1).squeeze()


def exported(model: nn.Module, path: Path, axes: tuple[int, ...] | None) -> ExportReport:
    dynamic = None if axes is None else {"x": axes}
    return export_onnx(model.eval(), {"x": torch.randn(EXAMPLE)}, path, dynamic_axes=dynamic)


def differs(model: nn.Module, path: Path, shape: tuple[int, ...]) -> bool:
    x = torch.randn(shape)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        return not np.allclose(got, model(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("name", BRANCHES)
def test_another_branch_is_noted_with_a_length_at_which_it_is_taken(
    name: str, tmp_path: Path
) -> None:
    turns, lengths = BRANCHES[name]
    path = tmp_path / "model.onnx"
    model = Branching(turns)
    report = exported(model, path, (0, 1))
    assert differs(model, path, (*lengths, 8))
    assert report.notes
    alike = exported(Branching(turns, alike=True), path, (0, 1))
    assert not alike.notes


def test_an_axis_with_another_branch_does_not_vary_by_default(tmp_path: Path) -> None:
    path, model = tmp_path / "model.onnx", Branching(lambda n, _: n == 1)
    report = exported(model, path, None)
    (value,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()
    assert value.shape == list(EXAMPLE)
    assert "x.shape[0] = 1" in report.notes[0]
    assert not differs(model, path, EXAMPLE)


def test_an_axis_of_one_that_torch_squeezes_away_may_vary(tmp_path: Path) -> None:
    report = exported(Squeezing(), tmp_path / "model.onnx", (0, 1))
    assert not report.notes
