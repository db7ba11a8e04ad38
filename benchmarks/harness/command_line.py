"""The command line of a benchmark with several parts, each of which runs in its own process."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.reporting import Settings, note


def chosen(names: Sequence[str], parts: Iterable[str]) -> list[str]:
    """The parts that begin with one of the names; all parts if there are no names.

    Raises:
        SystemExit: no part begins with one of the names.

    >>> chosen(["lite", "memory"], ["minilm", "lite0", "lite2", "memory"])
    ['lite0', 'lite2', 'memory']
    """
    known = list(parts)
    if unknown := [name for name in names if not any(part.startswith(name) for part in known)]:
        raise SystemExit(f"There is no part {unknown[0]!r}: choose of {', '.join(known)}.")
    if set(names) <= set(known):  # "minilm" is a part, and the beginning of another
        return [part for part in known if part in names] or known
    return [part for part in known if part.startswith(tuple(names))]


def run(suite: str, parts: Mapping[str, str], description: str | None) -> int:
    """Run the parts that the command line names; 1 if one of several failed.

    Args:
        suite: the package, ``quant`` for ``benchmarks.quant``.
        parts: ``module:function`` by name; the function takes `Settings`.
        description: for ``--help``.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{suite}", description=description)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--quick", action="store_true", help="a few items, for a try; not kept")
    parser.add_argument("--folder", type=Path, default=Path(".demo/quality"), help="for the data")
    given = parser.parse_args()
    names = chosen(given.parts, parts)
    if len(names) == 1:
        module, _, function = parts[names[0]].partition(":")
        settings = Settings(suite, names[0], given.folder, given.quick)
        getattr(importlib.import_module(module), function)(settings)
        return 0
    options = ["--folder", str(given.folder), *["--quick"] * given.quick]
    failed = [part for part in names if not _run_alone(suite, part, options)]
    note(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _run_alone(suite: str, part: str, options: Sequence[str]) -> bool:
    note(part)
    command = [sys.executable, "-m", f"benchmarks.{suite}", part, *options]
    return subprocess.run(command, check=False).returncode == 0
