"""Denormal floats count as zero inside the block, and as what they are outside it."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from encoder.runtime.onnx import OnnxSession
from encoder.runtime.shared import denormals_as_zero
from tests.support.onnx_files import save_network

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


def save_sum(path: Path) -> Path:
    return save_network(path, [helper.make_node("Add", ["x", "x"], ["y"])], {}, {"x": ["n"]})


def test_the_first_session_of_a_process_leaves_its_thread(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import numpy as np
from encoder.runtime.onnx import session_options
from encoder.runtime.shared import open_session
open_session(Path({str(save_sum(tmp_path / "net.onnx"))!r}), session_options())
assert np.float32(1e-40) * np.float32(0.5) > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_networks_run_so_in_every_thread(tmp_path: Path, n_threads: int) -> None:
    session = OnnxSession(save_sum(tmp_path / "net.onnx"), n_threads=n_threads)
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
