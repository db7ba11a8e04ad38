"""What a file costs 1, 2 and 4 workers of limited cores: ``python -m benchmarks.pipeline.workers``.

Each has half a core, or less where four of them would need more cores than there are. Needs root,
and cgroups of version 1 for the processor. ``--quick`` takes few files, one round, and is not kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.harness.reporting import Bar, note
from benchmarks.harness.results_pages import table, write_section
from benchmarks.pipeline.ingest import make_corpus
from benchmarks.pipeline.jobs import Stack
from examples.samples import make_samples

_COUNTS = (1, 2, 4)
_FLAT = Bar(at_most=5.0)
_N_FILES, _N_ROUNDS, _SHARD_FILES = 80, 2, 4
_SHARE = min(0.5, len(os.sched_getaffinity(0)) / max(_COUNTS))
_OF_A_THOUSAND = {"txt": 500, "jpg": 350, "wav": 150}
_WARM_SHARDS = 2 * max(_COUNTS)
_CPU, _USAGE = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpuacct")
_JOIN = ("sh", "-c", 'echo 0 > "$0/cgroup.procs"; echo 0 > "$1/cgroup.procs"; shift; exec "$@"')

_ABOUT = """\
Protocol, written before the first run: {n} mixed files over Redis and a Milvus Lite server. Each
worker has one process, one thread and {share:g} of a core, by a cgroup; all processes have {cores}
cores. Jobs of texts, of pictures and of speech warm the workers, with two shards for each of
four, so that none loads a model within the measured job. CPU-s are of the workers' cgroups, with
the processes that decode. Shards are of {shard} files, so that there are enough for four. Counts
take turns; medians of the rounds, here {rounds}, with the least and the greatest. There are no
containers here, and all workers share a disk."""


class Limits:
    """Cgroups of workers: a share of a core each, and what they used."""

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


def make_files(scratch: Path, n_files: int) -> tuple[Path, list[Path]]:
    """A mixed folder, and one of texts, one of pictures and one of speech to warm workers with."""
    corpus, samples, media = (scratch / part for part in ("corpus", "samples", "media"))
    corpus.mkdir()
    make_samples(samples)
    make_corpus(corpus, samples)
    sounds = [path.name for path in sorted(samples.glob("*.wav"))]
    warm = []
    media.mkdir()
    for suffix, share in _OF_A_THOUSAND.items():
        files = sorted(corpus.glob(f"*.{suffix}"), key=lambda path: int(path.stem))
        _move(files[: n_files * share // 1000], media)
        left = files[n_files * share // 1000 :]
        if suffix == "wav":  # a worker that hears no speech does not load what recognises it
            left = [one for one in left if "speech" in sounds[int(one.stem) % len(sounds)]]
        warm.append(scratch / suffix)
        warm[-1].mkdir()
        _move(left[: _WARM_SHARDS * (1 if suffix == "wav" else _SHARD_FILES)], warm[-1])
    return media, warm


def _move(files: Sequence[Path], folder: Path) -> None:
    for path in files:
        path.rename(folder / path.name)


def cost(media: Path, warm: Sequence[Path], scratch: Path, n_workers: int) -> tuple[float, float]:
    """Seconds of the processor for a file, and seconds by the clock for all."""
    with ExitStack() as stack:
        limits = Limits(stack, n_workers)
        shard_files = {"ANYMODAL_SHARD_FILES": str(_SHARD_FILES)}
        parts = Stack(scratch, n_workers, stack, limits.within, **shard_files)
        for folder in warm:
            parts.ingest(folder)
        before = limits.used_s()
        job = parts.ingest(media)
        n_files = len(list(media.iterdir()))
        if job["ingested"] != n_files:
            raise RuntimeError(f"{job['ingested']} of {n_files} files were ingested: {job}")
        return (limits.used_s() - before) / n_files, job["seconds"]


def rows_of(rounds: Sequence[Mapping[int, tuple[float, float]]]) -> Iterator[list[str]]:
    """A row for each number of workers."""
    for n in rounds[0]:
        cpu_s = [one[n][0] for one in rounds]
        said = f"{median(cpu_s):.3f} ({min(cpu_s):.3f}–{max(cpu_s):.3f})"
        wall_s = median(one[n][1] for one in rounds)
        more = 100 * (median(one[n][0] / one[1][0] for one in rounds) - 1)
        beside = "" if n == 1 else _FLAT.beside(more, "+.1f")
        faster = median(one[1][1] / one[n][1] for one in rounds)
        yield [str(n), said, beside, f"{wall_s:.0f}", f"{faster:.2f}"]


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_N_ROUNDS)
    parser.add_argument("--quick", action="store_true", help="few files, one round; not kept")
    given = parser.parse_args()
    n_files, n_rounds = (20, 1) if given.quick else (_N_FILES, given.rounds)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        media, warm = make_files(scratch, n_files)
        rounds = []
        for number in range(n_rounds):
            rounds.append({})
            for n in _COUNTS:
                note(f"round {number + 1}: {n} workers")
                rounds[-1][n] = cost(media, warm, scratch / f"{number}-{n}", n)
                note("{:.3f} CPU-s a file, {:.0f} s".format(*rounds[-1][n]))
    heads = ["workers", "CPU-s for a file", "% more than one worker", "s", "× faster"]
    cores = len(os.sched_getaffinity(0))
    facts = {"n": n_files, "share": _SHARE, "shard": _SHARD_FILES, "rounds": n_rounds}
    about = _ABOUT.format(cores=cores, **facts)
    body = f"{about}\n\n{table(heads, list(rows_of(rounds)))}"
    print(body)
    if not given.quick:
        write_section("Jobs on 1, 2 and 4 workers", "python -m benchmarks.pipeline.workers", body)


if __name__ == "__main__":
    main()
