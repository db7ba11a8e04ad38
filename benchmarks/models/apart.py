"""What the benchmark runs in separate processes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks.models.subjects import contents
from encoder.models.exported import open_exported
from encoder.towers.base import Tower


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a separate process; what it returns."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def prepare(source: Path, target: Path, precision: str) -> tuple[float, float]:
    """Prepare a model; CPU-seconds and peak memory in MB."""
    from encoder.prepare.hub.prepare import prepare_hub

    target.mkdir()
    start = process_time()
    exact = None if precision == "float32" else precision
    prepare_hub(source, target, exact, lambda *step: print(*step, file=sys.stderr, flush=True))
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return process_time() - start, peak_kb / 1024


def vector_of(tower: Tower, content: object) -> np.ndarray[Any, Any]:
    return tower.forward([tower.prepare(content)]).rows[0]


def memory(folder: Path) -> str:
    """The memory that a third process adds by encoding a text with an artifact."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(3):  # the first makes the copy that the others map
        here, there = context.Pipe()
        process = context.Process(target=_hold, args=(folder, there))
        process.start()
        pipes.append((here, process))
        before_mb, after_mb, later_mb = here.recv()
    for here, process in pipes:
        here.send("end")
        process.join()
    weights_mb = sum(path.stat().st_size for path in folder.glob("text.onnx*")) / 2**20
    share = (later_mb - before_mb) / weights_mb
    return (
        f"A further process that encodes a text adds {after_mb - before_mb:.0f} MB of its own, and "
        f"{later_mb - before_mb:.0f} MB once what was freed has gone back; the text network has "
        f"{weights_mb:.0f} MB ({share:.0%}; bar 15 %)."
    )


def _hold(folder: Path, pipe: Any) -> None:
    """Report this process's private memory before and after encoding a text."""
    import onnxruntime  # noqa: F401 (the library does not count as weights)

    os.environ["ANYMODAL_CACHE"] = str(folder.parent / "cache")  # removed with the folder
    before_mb = _own_mb()
    model = open_exported(folder, 1)
    vector_of(model.towers["text"], contents()["text"])  # type: ignore[index]
    after_mb = _own_mb()
    ctypes.CDLL(None).malloc_trim(0)
    pipe.send((before_mb, after_mb, _own_mb()))
    pipe.recv()


def _own_mb() -> float:
    """Memory that belongs to this process alone."""
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
