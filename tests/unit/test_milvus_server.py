from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.milvus_server import free_port

ROOT = Path(__file__).parents[2]


def test_no_port_is_given_out_twice() -> None:
    ports = [free_port() for _ in range(1000)]
    assert len(set(ports)) == len(ports)


def test_two_processes_are_not_given_the_same_port() -> None:
    """Of 15,000 ports, two times 1,500 would have some in common."""
    code = (
        "from tests.support.milvus_server import free_port as f; print({f() for _ in range(1500)})"
    )
    ours = {free_port() for _ in range(1500)}
    theirs = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert not ours & {int(port) for port in theirs.strip("{}\n").split(",")}
