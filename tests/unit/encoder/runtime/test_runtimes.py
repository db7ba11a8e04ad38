"""Both runtimes give what the module gives; an export that differs is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.openvino import OpenVinoSession, is_installed, version
from encoder.runtime.torch import TorchSession
from tests.unit.encoder.exported import export


class Mix(nn.Module):
    """Scales one input by the sum of another."""

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * scale.sum()


EXAMPLES = [
    {"x": np.full((n, 3), 2.0, np.float32), "scale": np.arange(3, dtype=np.float32)}
    for n in (2, 1, 5)
]


def test_export_agrees_for_every_length(tmp_path: Path) -> None:
    path = tmp_path / "mix.onnx"

    export(Mix(), EXAMPLES[0], path, {"x": (0,)})

    (found,) = OnnxSession(path, n_threads=1).run(EXAMPLES[2])
    assert found.tolist() == [[6.0] * 3] * 5


def test_torch_session_gives_arrays() -> None:
    (found,) = TorchSession(Mix()).run(EXAMPLES[0])

    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[6.0] * 3] * 2


def test_torch_session_passes_several_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, torch.zeros(1)

    found = TorchSession(Two()).run({"x": np.ones(2, np.float32)})

    assert [output.tolist() for output in found] == [[1.0, 1.0], [0.0]]


@pytest.mark.parametrize("content", [None, b"not a network"])
def test_unusable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "net.onnx"
    if content:
        path.write_bytes(content)

    with pytest.raises(ModelError, match=r"net\.onnx cannot be run"):
        OnnxSession(path)


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@pytest.mark.slow
def test_it_runs_a_network_or_shows_how_to_install_it(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    examples = [{"x": np.ones((n, 3), np.float32)} for n in (2, 5)]
    export(Double(), examples[0], path, {"x": (0,)})
    if not is_installed():
        with pytest.raises(ModelError, match=r"pip install 'anymodal\[openvino\]'"):
            OpenVinoSession(path)
        return

    session = OpenVinoSession(path, n_threads=1)

    first = session.run(examples[0])
    assert session.run(examples[1])[0].tolist() == [[2.0] * 3] * 5
    assert first[0].tolist() == [[2.0] * 3] * 2
    assert version()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a network")

    with pytest.raises(ModelError, match=r"net\.onnx (cannot be run by|on) OpenVINO"):
        OpenVinoSession(path)
