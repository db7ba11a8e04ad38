"""Measure parts, each in a process of its own, and write their sections of `results/`.

    python -m benchmarks                          # those of RESULTS.md, as `make bench`
    python -m benchmarks dsre --quick             # all that begin with "dsre"; few items, not kept
    python -m benchmarks library --half judged    # options of the part follow

A part whose environment is missing is left out.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from benchmarks.harness.reporting import Settings, note
from benchmarks.harness.results_pages import table, write_section

PARTS: Mapping[str, str] = {
    "latency": "benchmarks.api.latency:latency",
    "throughput": "benchmarks.api.latency:throughput",
    "attacks": "benchmarks.api.attacks:main",
    "folder-lock": "benchmarks.api.folder_lock:main",
    "vectrix": "benchmarks.api.beside_vectrix:main",
    "judge": "benchmarks.judge.command:main",
    "jobs": "benchmarks.pipeline.jobs:main",
    "products": "benchmarks.products.compare:main",
    "library": "benchmarks.library.command:main",
    "questions": "benchmarks.bundle_quality.questions:main",
    "reading": "benchmarks.bundle_quality.reading:main",
    "speech": "benchmarks.bundle_quality.speech:main",
    "dsre-speed": "benchmarks.dsre.product:speed",
    "dsre-ingest": "benchmarks.dsre.product:ingest",
    "dsre-questions": "benchmarks.dsre.questions:questions",
    "quant-lite0": "benchmarks.quant.lite:lite0",
    "quant-text": "benchmarks.quant.speed:text",
    "quant-resnet": "benchmarks.quant.speed:resnet",
}
"""``module:function`` by name; the function takes `Settings`."""
_OF_BENCH = (
    "latency", "vectrix", "jobs", "products", "quant-text", "quant-resnet", "dsre-ingest",
)  # fmt: skip
_PYTHONS = {"quant-text": ".venv-bench/bin/python", "quant-resnet": ".venv-bench/bin/python"}
"""Of parts that run in an environment of their own."""


def split(words: Sequence[str], parts: Iterable[str]) -> tuple[list[str], list[str]]:
    """The parts that words name, by their names or what these begin with, and the words after them.

    Raises:
        SystemExit: the first word names no part.

    >>> split(["quant", "jobs", "--rounds", "2"], ["quant-text", "quant-lite0", "jobs", "judge"])
    (['quant-text', 'quant-lite0', 'jobs'], ['--rounds', '2'])
    >>> split(["dsre"], ["dsre", "dsre-speed"])
    (['dsre'], [])
    """
    known, names = list(parts), list[str]()
    for number, word in enumerate(words):
        same = [word] if word in known else [part for part in known if part.startswith(word)]
        if not same and not names and not word.startswith("-"):
            raise SystemExit(f"There is no part {word!r}: choose of {', '.join(known)}.")
        if not same:
            return names, list(words[number:])
        names += same
    return names, []


def main() -> int:
    """As the arguments say; 1 if a part failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, add_help=False, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [PART ...] [--quick] [--folder FOLDER] [OPTION OF THE PART ...]",
        epilog=f"Parts: {', '.join(PARTS)}.",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a few items, for a try; not kept")
    parser.add_argument("--folder", type=Path, default=Path(".demo/quality"), help="for the data")
    given, rest = parser.parse_known_args()
    named, words = split(rest, PARTS)
    if not named and words:
        parser.print_help()
        return int(words[0] not in ("-h", "--help"))
    names = named or list(_OF_BENCH)
    if len(names) == 1 and sys.executable == _python(names[0]):
        module, _, function = PARTS[names[0]].partition(":")
        settings = Settings(names[0], given.folder, given.quick, tuple(words))
        getattr(importlib.import_module(module), function)(settings)
        return 0
    options = ["--folder", str(given.folder), *["--quick"] * given.quick, *words]
    rows = [[name, *_run(name, options)] for name in names]
    load = f"Load of the machine at the end {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores."
    body = f"Environments and data were there. {load}\n\n{table(_HEAD, rows)}"
    print(body)
    if not (named or given.quick):
        write_section("Time of the benchmarks", "make bench", body)
    return int(any(row[-1] != "well" for row in rows))


_HEAD = ("part", "minutes by the clock", "CPU-minutes", "ended")


def _python(name: str) -> str:
    return str(Path(_PYTHONS[name]).absolute()) if name in _PYTHONS else sys.executable


def _run(name: str, options: Sequence[str]) -> list[str]:
    """How long a part took, and how it ended."""
    python = _python(name)
    if not Path(python).exists():
        return ["", "", f"there is no {python}"]
    note(name)
    before, began = getrusage(RUSAGE_CHILDREN), perf_counter()
    code = subprocess.run([python, "-m", "benchmarks", name, *options], check=False).returncode
    after, wall_s = getrusage(RUSAGE_CHILDREN), perf_counter() - began
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [f"{wall_s / 60:.1f}", f"{cpu_s / 60:.1f}", f"with {code}" if code else "well"]


if __name__ == "__main__":
    sys.exit(main())
