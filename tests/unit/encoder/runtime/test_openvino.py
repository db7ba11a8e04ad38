"""OpenVINO as a runtime; where it is not installed, the error says how to get it."""

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from encoder.errors import ModelError
from encoder.runtime.openvino import OpenVinoSession, is_installed, version
from tests.unit.encoder.exported import export


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
