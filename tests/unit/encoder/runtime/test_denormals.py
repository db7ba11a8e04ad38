"""Denormal floats count as zero inside, and as what they are outside."""

from __future__ import annotations

import platform
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from encoder.runtime.denormals import denormals_as_zero
from encoder.runtime.onnx import OnnxSession

TINY = np.full(4, 1e-40, np.float32)
pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc",
    reason="Only there is it done.",
)


def half() -> float:
    return float((TINY * np.float32(0.5)).max())


def test_the_thread_is_as_it_was_afterwards() -> None:
    with denormals_as_zero():
        assert half() == 0
    assert half() > 0


@pytest.mark.parametrize("n_threads", [1, 2])
def test_networks_run_so_in_every_thread(tmp_path: Path, n_threads: int) -> None:
    sides = ["n"]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "net", [x], [y])
    onnx.save(helper.make_model(graph, ir_version=10), tmp_path / "net.onnx")
    session = OnnxSession(tmp_path / "net.onnx", n_threads=n_threads)
    found = []

    def run() -> None:
        found.append(float(session.run({"x": np.full(1 << 16, 1e-40, np.float32)})[0].max()))
        found.append(half())

    run()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [0, half(), 0, half()]
    assert half() > 0
