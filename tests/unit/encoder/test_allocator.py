"""glibc's own report of its pools, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys
from threading import Barrier, Thread
from encoder.system.allocator import share_pools

share_pools()
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
together = Barrier(8)

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.parametrize(("asked_for", "pools"), [(None, 2), ("4", 4)])
def test_threads_share_pools(asked_for: str | None, pools: int, tmp_path: Path) -> None:
    told = tmp_path / "malloc.xml"
    env = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    if asked_for:
        env["MALLOC_ARENA_MAX"] = asked_for
    subprocess.run([sys.executable, "-c", PROGRAM, told], env=env, check=True)
    assert told.read_text().count("<heap ") == pools
