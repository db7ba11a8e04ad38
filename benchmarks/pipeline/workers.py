"""What a file costs 1, 2 and 4 workers of limited cores: ``python -m benchmarks.pipeline.workers``.

All seven run at the same time, so that other load on the machine slows all of them alike. Needs
root, and CPU cgroups of version 1. ``--quick`` takes few files and one round, and is not kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.pipeline.ingest import make_corpus
from benchmarks.pipeline.jobs import Stack
from examples.samples import make_samples

_COUNTS = (1, 2, 4)
_FLAT = Bar(at_most=5.0)
_N_FILES, _N_ROUNDS, _SHARD_FILES = 40, 6, 4
_CORES = len(os.sched_getaffinity(0))
_SHARE = min(0.5, 0.7 * _CORES / sum(_COUNTS))  # the rest is for the broker, the store, commands
_OF_A_THOUSAND = {"txt": 500, "jpg": 350, "wav": 150}
_WARM_SHARDS = 2 * max(_COUNTS)
_IDLE_S = 10.0
_CPU, _USAGE = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpuacct")
_JOIN = ("sh", "-c", 'echo 0 > "$0/cgroup.procs"; echo 0 > "$1/cgroup.procs"; shift; exec "$@"')

_ABOUT = """\
Protocol, written before this run: three stacks of Redis, a Milvus Lite server and 1, 2 and 4
workers, each worker with one process, one thread and {share:g} of a core by a cgroup; all processes
have {cores} {noun}. In each of {rounds} rounds every stack gets {n} new files for each of its
workers, of the same kinds and made from the same samples, and all three ingest at the same time:
other work on the machine, and they themselves, slow each other down alike. Jobs of texts, of
pictures and of speech warm the workers before. CPU-s are of the workers' cgroups, with the
processes that decode; medians of the rounds with the least and the greatest, and beyond one worker
the mean of the rounds' differences with its interval of 95 % (Student's t). Shards are of {shard}
files. There are no containers here, and all workers share a disk. Seconds by the clock say little
where all share a core. A worker that waits for work takes {idle:.1f} ms of the processor a
second."""


class Cost(NamedTuple):
    """The cost of a job: CPU-seconds per file, and seconds by the clock."""

    cpu_s: float
    wall_s: float


class Limits:
    """Cgroups of workers: a share of a core each, and what they used."""

    def __init__(self, stack: ExitStack, n_workers: int) -> None:
        own = f"anymodal-{os.getpid()}-{n_workers}"
        self._names = [f"{own}-{number}" for number in range(n_workers)]
        for name in self._names:
            stack.enter_context(_group(_CPU / name))
            stack.enter_context(_group(_USAGE / name))

    def begin(self) -> None:
        """Limit them from now on."""
        for name in self._names:
            period_us = int((_CPU / name / "cpu.cfs_period_us").read_text())
            (_CPU / name / "cpu.cfs_quota_us").write_text(str(int(_SHARE * period_us)))

    def within(self, number: int) -> Sequence[object]:
        """What a worker's command begins with."""
        return (*_JOIN, _CPU / self._names[number], _USAGE / self._names[number])

    def used_s(self) -> float:
        """CPU-seconds of all workers so far."""
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


class Files:
    """Folders of files, all with the same kinds of files from the same samples."""

    def __init__(self, scratch: Path, n_files: int) -> None:
        self._scratch, self._samples = scratch, scratch / "samples"
        make_samples(self._samples)
        self._sounds = [path.name for path in sorted(self._samples.glob("*.wav"))]
        self._n = {kind: n_files * share // 1000 for kind, share in _OF_A_THOUSAND.items()}
        self._step = n_files * len(self._sounds) * len(list(self._samples.glob("*.png")))
        self._next = 0

    def folder(self, n_parts: int) -> Path:
        """A folder of new files for ``n_parts`` workers."""
        names = [
            f"{(self._next + part) * self._step + number}.{kind}"
            for part in range(n_parts)
            for kind, n in self._n.items()
            for number in range(n)
        ]
        self._next += n_parts
        return self._written(f"part-{self._next}", names)

    def warm(self) -> list[Path]:
        """Folders of texts, of pictures and of speech, each with shards for all workers."""
        start, many = 10**6 * self._step, _WARM_SHARDS * _SHARD_FILES
        texts, pictures = ([f"{start + n}.{kind}" for n in range(many)] for kind in ("txt", "jpg"))
        spoken = [n for n, name in enumerate(self._sounds) if "speech" in name]
        each = [start + turn * self._step + n for turn in range(_WARM_SHARDS) for n in spoken]
        speech = [f"{n}.wav" for n in each[:_WARM_SHARDS]]
        kinds = {"texts": texts, "pictures": pictures, "speech": speech}
        return [self._written(name, names) for name, names in kinds.items()]

    def _written(self, name: str, names: Sequence[str]) -> Path:
        folder = self._scratch / name
        folder.mkdir()
        make_corpus(folder, self._samples, names)
        return folder


class Workers:
    """A stack of ``n`` workers, warm and limited."""

    def __init__(self, n: int, warm: Sequence[Path], scratch: Path, stack: ExitStack) -> None:
        self._n = n
        self._limits = Limits(stack, n)
        shard_files = {"ANYMODAL_SHARD_FILES": str(_SHARD_FILES)}
        self._stack = Stack(scratch / str(n), n, stack, self._limits.within, **shard_files)
        for folder in warm:
            self._stack.ingest(folder)
        self._limits.begin()

    def cost(self, media: Path) -> Cost:
        """The cost of ingesting a folder of files."""
        before = self._limits.used_s()
        job, n_files = self._stack.ingest(media), len(list(media.iterdir()))
        if job["ingested"] < 0.95 * n_files:  # two crops of a picture may be the same
            raise RuntimeError(f"{job['ingested']} of {n_files} files were ingested: {job}")
        return Cost((self._limits.used_s() - before) / job["ingested"], job["seconds"])

    def idle(self) -> float:
        """CPU-seconds that a worker uses in a second without work."""
        before = self._limits.used_s()
        time.sleep(_IDLE_S)
        return (self._limits.used_s() - before) / _IDLE_S / self._n


def student(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the mean of a few values, by Student's t."""
    from scipy.stats import t

    far = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - far), float(values.mean() + far)


def rows_of(rounds: Sequence[Mapping[int, Cost]]) -> Iterator[list[str]]:
    """A row for each number of workers."""
    for n in rounds[0]:
        cpu_s = [one[n].cpu_s for one in rounds]
        said = f"{median(cpu_s):.3f} ({min(cpu_s):.3f}–{max(cpu_s):.3f})"
        more = np.array([100 * (one[n].cpu_s / one[1].cpu_s - 1) for one in rounds])
        low, high = student(more) if len(more) > 1 else (-np.inf, np.inf)
        judged = f"{more.mean():+.1f} ({low:+.1f} to {high:+.1f}); "
        beside = "" if n == 1 else judged + _FLAT.beside(float(more.mean()), "+.1f")
        faster = median(n * one[1].wall_s / one[n].wall_s for one in rounds)
        wall_s = median(one[n].wall_s for one in rounds)
        yield [str(n), said, beside, f"{wall_s:.0f}", f"{faster:.2f}"]


def measure(n_files: int, n_rounds: int) -> tuple[list[dict[int, Cost]], float]:
    """The cost of each round, and of an idle worker."""
    rounds = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        scratch = Path(name)
        files = Files(scratch, n_files)
        warm = files.warm()
        teams = {n: Workers(n, warm, scratch, stack) for n in _COUNTS}
        note("warm")
        with ThreadPoolExecutor(len(teams)) as threads:
            for number in range(n_rounds):
                media = [files.folder(n) for n in teams]
                found = threads.map(lambda team, one: team.cost(one), teams.values(), media)
                rounds.append(dict(zip(teams, found, strict=True)))
                note(f"round {number + 1}: {rounds[-1]}")
        return rounds, teams[max(_COUNTS)].idle()


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_N_ROUNDS)
    parser.add_argument("--quick", action="store_true", help="few files, one round; not kept")
    given = parser.parse_args()
    n_files, n_rounds = (20, 1) if given.quick else (_N_FILES, given.rounds)
    rounds, idle = measure(n_files, n_rounds)
    heads = ["workers", "CPU-s for a file", "% more than one worker", "s", "× faster"]
    facts = {"n": n_files, "share": _SHARE, "shard": _SHARD_FILES, "rounds": n_rounds}
    noun = "core" if _CORES == 1 else "cores"
    about = _ABOUT.format(cores=_CORES, noun=noun, idle=1000 * idle, **facts)
    body = f"{about}\n\n{table(heads, list(rows_of(rounds)))}"
    print(body)
    if not given.quick:
        write_section("Jobs on 1, 2 and 4 workers", "python -m benchmarks.pipeline.workers", body)


if __name__ == "__main__":
    main()
