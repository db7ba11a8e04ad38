"""Runtimes send nothing to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN_A_NETWORK = """
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save

from encoder.runtime.onnx import OnnxSession

x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
file = Path(sys.argv[1])
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
OnnxSession(file).run({"x": np.ones(1, np.float32)})
"""


def test_onnx_runtime_keeps_no_id_of_this_machine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # Not the whole environment: under continuous integration it would keep none anyway.
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", RUN_A_NETWORK, tmp_path / "same.onnx"]
    subprocess.run(command, env=environment, check=True)
    assert list(home.rglob("Microsoft")) == []
