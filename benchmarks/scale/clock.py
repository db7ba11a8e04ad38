"""Wall-clock times, and the CPU time of this process and of its server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeAlias

from benchmarks.products.measure import tree_cpu_s

N_TIMES = 9
SLOW_S = 5.0

Figure: TypeAlias = list[float]
"""Milliseconds on the clock, of this process's CPU and of the server's CPU if there is one; or a
single number."""


@dataclass(frozen=True)
class Moment:
    """A moment from which times are measured.

    Args:
        server: the process id of the server; 0 without one.
    """

    server: int = 0
    _seconds: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seconds", self._now())

    def _now(self) -> tuple[float, ...]:
        here = (time.perf_counter(), time.process_time())
        return (*here, tree_cpu_s(self.server)) if self.server else here

    def passed(self) -> Figure:
        """What has passed since, in milliseconds."""
        return [(now - then) * 1e3 for now, then in zip(self._now(), self._seconds, strict=True)]


def median_of(look: Callable[[int], object], server: int, times: int = N_TIMES) -> Figure:
    """The median of calls with the numbers from 0 on; fewer calls if they take long."""
    taken: list[Figure] = []
    for number in range(times):
        begun = Moment(server)
        look(number)
        taken.append(begun.passed())
        if sum(figure[0] for figure in taken) > SLOW_S * 1e3:
            break
    return [median(of) for of in zip(*taken, strict=True)]


def server_of(folder: Path) -> int:
    """The process id of the server that runs in a folder; 0 without one."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cwd").readlink() == folder:
                return int(path.name)
        except OSError:
            continue
    return 0
