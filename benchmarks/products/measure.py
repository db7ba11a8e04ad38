"""Runs a program over the folder, and adds up what its processes use.

A program is called with the folder of MiniLM, the folder of files, an empty folder and the file of
questions. It prints ``opened`` once its model is loaded and ``stored`` once all files are stored,
waits for a line after each, then prints JSON: the files that it could not read, and for each
question the names of the files found.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from benchmarks.harness.processes import tree_cpu_s, tree_pss_bytes
from benchmarks.harness.reporting import note

_EVERY_S = 0.2


@dataclass(frozen=True)
class Run:
    """What a program used and found.

    Args:
        open_cpu_s: CPU-seconds of all its processes until its model was loaded.
        store_cpu_s: from there until all files were stored.
        peak_bytes: the most memory of all its processes together, pages they share counted once.
        said: the JSON that it printed.
    """

    open_cpu_s: float
    store_cpu_s: float
    peak_bytes: int
    said: dict[str, Any]


Runs = dict[str, list[Run]]
"""The runs of each program, by its name."""


def in_turns(runs: Runs, n_rounds: int, ways: Mapping[str, Callable[[], Run]]) -> None:
    """Add the runs of each way to ``runs``; one that fails is not tried again.

    Raises:
        SystemExit: a program failed; raised after all others have run.
    """
    left, failed = list(ways), list[str]()
    for _ in range(n_rounds):
        for way in list(left):
            try:
                runs.setdefault(way, []).append(ways[way]())
            except RuntimeError as error:
                note(f"{way}: {error}")
                left.remove(way)
                failed.append(way)
    for way in failed:
        runs.pop(way)
    if failed:
        raise SystemExit(f"These failed: {', '.join(failed)}.")


def run(words: Sequence[object], log: Path) -> Run:
    """Run a program to its end, each library with one thread.

    Raises:
        RuntimeError: it failed; ``log`` has what it printed.
    """
    one = dict.fromkeys(("OMP_NUM_THREADS", "ANYMODAL_ENCODER__N_THREADS"), "1")
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **one, **offline},
        ) as process,
    ):
        opened = _cpu_at(process, "opened")
        ended, peak = Event(), [0]
        watch = Thread(target=_watch, args=(process.pid, ended, peak))
        watch.start()
        try:
            stored = _cpu_at(process, "stored")
        finally:
            ended.set()
            watch.join()
        assert process.stdout
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{words[1]} ended with {process.returncode}; see {log}")
    return Run(opened, stored - opened, peak[0], json.loads(said.splitlines()[-1]))


def _cpu_at(process: subprocess.Popen[str], mark: str) -> float:
    """The CPU-seconds so far when a program prints a mark; lets it continue."""
    assert process.stdin
    assert process.stdout
    if not any(line.strip() == mark for line in process.stdout):
        raise RuntimeError(f"{process.args!r} never printed {mark!r}.")
    seconds = tree_cpu_s(process.pid)
    process.stdin.write("\n")
    process.stdin.flush()
    return seconds


def _watch(pid: int, ended: Event, peak: list[int]) -> None:
    while not ended.wait(_EVERY_S):
        peak[0] = max(peak[0], tree_pss_bytes(pid))
