"""What the benchmark runs in separate processes."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

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
