"""The cache: entries are whole or absent, made once, and removed when nobody needs them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from encoder.system.cache import LOCKS, cache_entries, make_once, prune_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path))
    monkeypatch.setenv("ANYMODAL_HOME", str(tmp_path))
    return tmp_path


def add(path: Path, size_bytes: int = 1, unused_days: float = 0) -> Path:
    make_once(path, lambda new: new.write_bytes(b"x" * size_bytes) and None)
    then_s = time.time() - unused_days * 86400
    os.utime(path, (then_s, then_s))
    return path


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCKS}


def _make_slowly(path: Path) -> int:
    n_written = 0

    def write(new: Path) -> None:
        nonlocal n_written
        n_written += 1
        time.sleep(0.2)
        new.mkdir()
        (new / "weights").write_text("all of them")

    make_once(path, write)
    assert (path / "weights").read_text() == "all of them"
    return n_written


@pytest.mark.slow
def test_several_processes_make_an_entry_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert sum(pool.map(_make_slowly, [tmp_path / "entry"] * 3, chunksize=1)) == 1

    assert left_in(tmp_path) == {"entry"}


def test_making_an_entry_removes_what_was_not_opened_for_a_month(cache: Path) -> None:
    old, new = add(cache / "shared" / "old", unused_days=31), add(cache / "shared" / "new")

    assert (old.exists(), new.exists()) == (False, True)


def test_pruning_starts_with_what_was_unused_for_the_longest(cache: Path) -> None:
    small = add(cache / "trials" / "a.json", unused_days=3)
    large = add(cache / "shared" / "b", size_bytes=1000, unused_days=2)
    last = add(cache / "pieces" / "c.sqlite", size_bytes=10, unused_days=1)
    assert [entry.path for entry in cache_entries()] == [small, large, last]
    assert [entry.kind for entry in cache_entries()] == ["trials", "shared", "pieces"]

    assert [entry.path for entry in prune_cache(most_bytes=500)] == [small, large]
    assert last.exists()


def test_gates_and_models_are_not_pruned(cache: Path) -> None:
    gate = add(cache / "gates" / "x.npz", unused_days=400)
    model = add(cache / "models" / "x-0123", unused_days=400)

    assert prune_cache(unused_s=0) == []
    assert gate.exists()
    assert model.exists()


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
