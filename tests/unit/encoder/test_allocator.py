"""What glibc reports of its pools, and what goes back to the system, in other processes."""

import ctypes
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


# The last of 80 MB of small pieces keeps glibc from giving the others back by itself.
KEPT = """
import ctypes, re
from encoder.system.allocator import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident_kb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])

pieces = [libc.malloc(60_000) for _ in range(1_400)]
for piece in pieces:
    ctypes.memset(piece, 1, 60_000)
last = pieces.pop()  # a small one may lie before them, in a gap
for piece in pieces:
    libc.free(piece)
before = resident_kb()
give_back()
print(before - resident_kb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_it_gives_back_what_is_kept_behind_something_small() -> None:
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", KEPT], cwd=root, capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) > 50_000
