"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

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
