"""Measure the parts that are named, or all: ``python -m benchmarks.quant [PART ...] [--quick]``.

A part may be named by its beginning: ``speed`` is all parts that begin so. Several parts run one
after the other, each in a process of its own. Each writes its section of ``RESULTS.md``.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quant.sections import Settings, tell

PARTS = {
    "minilm": "benchmarks.quant.minilm:main",
    "minilm-uniform": "benchmarks.quant.minilm:uniform",
    "lite0": "benchmarks.quant.lite:lite0",
    "lite2": "benchmarks.quant.lite:lite2",
    "allocation-lite0": "benchmarks.quant.allocation:lite0",
    "allocation-minilm": "benchmarks.quant.allocation:minilm",
    "speed-text": "benchmarks.quant.speed:text",
    "speed-lite0": "benchmarks.quant.speed:lite0",
    "speed-lite2": "benchmarks.quant.speed:lite2",
    "memory": "benchmarks.quant.memory:main",
    "resnet": "benchmarks.quant.resnet:main",
    "sensitivity": "benchmarks.quant.sensitivity:main",
}


def chosen(names: Sequence[str]) -> list[str]:
    """The parts that the names begin; all without a name.

    Raises:
        SystemExit: a name begins no part.

    >>> chosen(["lite", "memory"])
    ['lite0', 'lite2', 'memory']
    """
    if unknown := [name for name in names if not any(part.startswith(name) for part in PARTS)]:
        raise SystemExit(f"There is no part {unknown[0]!r}: choose of {', '.join(PARTS)}.")
    if set(names) <= PARTS.keys():  # "minilm" is a part, and the beginning of another one
        return [part for part in PARTS if part in names] or list(PARTS)
    return [part for part in PARTS if part.startswith(tuple(names))]


def main() -> int:
    """Run the parts; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quant", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few items, for a try; not kept")
    parser.add_argument("--folder", type=Path, default=Path(".demo/quality"), help="for the data")
    given = parser.parse_args()
    parts = chosen(given.parts)
    if len(parts) == 1:
        module, _, function = PARTS[parts[0]].partition(":")
        settings = Settings(parts[0], given.folder, given.quick)
        getattr(importlib.import_module(module), function)(settings)
        return 0
    options = ["--folder", str(given.folder), *["--quick"] * given.quick]
    failed = [part for part in parts if not _run_alone(part, options)]
    tell(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _run_alone(part: str, options: Sequence[str]) -> bool:
    tell(part)
    command = [sys.executable, "-m", "benchmarks.quant", part, *options]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
