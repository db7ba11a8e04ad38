"""What a file costs 1, 2 and 4 workers of half a core: ``python -m benchmarks.pipeline.workers``.

Needs root, and cgroups of version 1 for the processor. ``--quick`` takes few files, one round, and
is not kept.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.pipeline.jobs import Stack, make_media

_COUNTS = (1, 2, 4)
_FLAT = Bar(at_most=5.0)
_N_FILES, _N_ROUNDS, _SHARE = 120, 3, 0.5
_CPU, _USAGE = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpuacct")
_JOIN = ("sh", "-c", 'echo 0 > "$0/cgroup.procs"; echo 0 > "$1/cgroup.procs"; shift; exec "$@"')

_ABOUT = """\
Protocol, written before the first run: {n} mixed files over Redis and a Milvus Lite server. Each
worker has one process, one thread and {share:g} of a core, by a cgroup; Redis, the store and the
command have what is left. A first job warms them. CPU-s are of the workers' cgroups, with the
processes that decode; counts take turns, {rounds} rounds, medians. There are no containers here,
and all workers share a disk."""


class Limits:
    """Cgroups of workers: half a core each, and what they used."""

    def __init__(self, stack: ExitStack, n_workers: int) -> None:
        self._names = [f"anymodal-{os.getpid()}-{number}" for number in range(n_workers)]
        for name in self._names:
            stack.enter_context(_group(_CPU / name))
            stack.enter_context(_group(_USAGE / name))
            period_us = int((_CPU / name / "cpu.cfs_period_us").read_text())
            (_CPU / name / "cpu.cfs_quota_us").write_text(str(int(_SHARE * period_us)))

    def within(self, number: int) -> Sequence[object]:
        """What the command of a worker begins with."""
        return (*_JOIN, _CPU / self._names[number], _USAGE / self._names[number])

    def used_s(self) -> float:
        """Seconds of the processor, of all workers so far."""
        usage = (int((_USAGE / name / "cpuacct.usage").read_text()) for name in self._names)
        return sum(usage) / 1e9


@contextmanager
def _group(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir()
    except OSError as error:
        raise SystemExit(f"{folder} cannot be made: {error}. Run this as root.") from error
    try:
        yield
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            (folder.parent / "cgroup.procs").write_text(pid)
        folder.rmdir()


def cost(media: Path, warm: Path, scratch: Path, n_workers: int) -> tuple[float, float]:
    """Seconds of the processor for a file, and seconds by the clock for all.

    A try with 40 files, on a busy machine: .218 CPU-s with one worker, .206 with two, .399 with
    four. The first job has too few shards to warm four workers, which then load their models
    within the measured one: it must grow before this says something of four.
    """
    with ExitStack() as stack:
        limits = Limits(stack, n_workers)
        parts = Stack(scratch, n_workers, stack, limits.within)
        parts.ingest(warm)
        before = limits.used_s()
        job = parts.ingest(media)
        n_files = len(list(media.iterdir()))
        if job["ingested"] != n_files:
            raise RuntimeError(f"{job['ingested']} of {n_files} files were ingested: {job}")
        return (limits.used_s() - before) / n_files, job["seconds"]


def rows_of(rounds: Sequence[Mapping[int, tuple[float, float]]]) -> Iterator[list[str]]:
    """A row for each number of workers."""
    for n in rounds[0]:
        cpu_s, wall_s = (median(one[n][place] for one in rounds) for place in (0, 1))
        more = 100 * (median(one[n][0] / one[1][0] for one in rounds) - 1)
        beside = "" if n == 1 else _FLAT.beside(more, "+.1f")
        faster = median(one[1][1] / one[n][1] for one in rounds)
        yield [str(n), f"{cpu_s:.3f}", beside, f"{wall_s:.0f}", f"{faster:.2f}"]


def main(is_quick: bool) -> None:
    """Measure and write the section."""
    n_files, n_rounds = (40, 1) if is_quick else (_N_FILES, _N_ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        media, warm = make_media(scratch, n_files)
        rounds = []
        for number in range(n_rounds):
            rounds.append({})
            for n in _COUNTS:
                note(f"round {number + 1}: {n} workers")
                rounds[-1][n] = cost(media, warm, scratch / f"{number}-{n}", n)
    heads = ["workers", "CPU-s for a file", "% more than one worker", "s", "× faster"]
    about = _ABOUT.format(n=n_files, share=_SHARE, rounds=n_rounds)
    body = f"{about}\n\n{table(heads, list(rows_of(rounds)))}"
    print(body)
    if not is_quick:
        write_section("Jobs on 1, 2 and 4 workers", "python -m benchmarks.pipeline.workers", body)


if __name__ == "__main__":
    main("--quick" in sys.argv)
