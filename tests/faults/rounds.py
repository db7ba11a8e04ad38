"""A job of mixed files, something broken in the middle, and what must be true at its end.

``python -m tests.faults.rounds --rounds 40`` plays all kinds in turn, on Milvus Lite over gRPC and
on the genuine server, and prints a Markdown table. It exits with 1 if anything was lost or is
there twice.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count as numbers
from itertools import islice
from pathlib import Path
from typing import Any

from encoder.system.disk import RESERVE_BYTES
from tests.faults.cluster import Cluster, running
from tests.faults.counting import faults_of_store
from tests.faults.disk import Disk, small_disk
from tests.faults.files import expected, make_media
from tests.faults.strikes import STRIKES, Scene
from tests.faults.uploads import Api, upload_all
from tests.support.waiting import wait_for
from workers.cli.jobs import report_of
from workers.jobs.board import JobBoard

__all__ = ["KINDS", "Round", "check", "make_media", "play", "running"]

FULL_DISK, UPLOADS = "full disk", "api"
KINDS = (*STRIKES, UPLOADS)
_SETTINGS = {"ANYMODAL_SHARD_FILES": "3", "ANYMODAL_QUEUE_SHARDS": "3"}
"""Small shards in short queues: the planner runs for most of the job."""
_LONGEST_S = 180
_HEADINGS = (
    *("round", "kind", "store", "files", "ingested", "set aside"),
    *("at file", "taken up s", "wall s", "wrong"),
)
_DISK_MB = RESERVE_BYTES / 2**20 + 64


@dataclass(frozen=True)
class Round:
    """What a round showed; times in seconds."""

    kind: str
    n_files: int
    ingested: int
    failed: int
    struck_at_file: int
    taken_up_s: float | None
    wall_s: float
    wrong: list[str]
    """In the store, and in the job's own report."""


def play(
    cluster: Cluster,
    folder: Path,
    kind: str,
    n_files: int,
    seed: int,
    *,
    hold_s: float = 30.0,
    disk: Disk | None = None,
) -> Round:
    """One job, struck once, or one series of uploads."""
    make_media(folder, n_files, seed)
    chance = random.Random(seed)
    if kind == UPLOADS:
        return _play_uploads(cluster, folder, chance)
    board = JobBoard(cluster.broker, patience_s=60)
    before = {job.job_id for job in board.recent()}
    started = time.monotonic()
    command = cluster.ingest(folder, "--json")
    try:
        wait_for(lambda: {j.job_id for j in board.recent()} != before, 60, "the plan")
        job_id = next(j.job_id for j in board.recent() if j.job_id not in before)
        goal = chance.randint(1, n_files // 3)
        wait_for(lambda: board.status(job_id).n_done >= goal, 120, "the first files")
        time.sleep(chance.random() * 0.3)
        struck_at = board.status(job_id).n_done
        scene = Scene(cluster, board, job_id, command, chance, hold_s, disk)
        taken_up_s = STRIKES[kind](scene)
        _await_end(scene)
        _end(command)
    finally:
        command.kill()
        command.communicate()
    job = board.status(job_id)
    wall_s = round(time.monotonic() - started, 1)
    wrong = faults_of(folder, report_of(job, board.failures(job.job_id)).as_json())
    if (job.state, job.n_files, job.n_done, job.open_shards) != ("done", n_files, n_files, 0):
        wrong.append(f"the job ended as {job}")
    return Round(
        kind,
        n_files,
        job.ingested + job.unchanged,
        job.failed,
        struck_at,
        taken_up_s,
        wall_s,
        wrong + faults_of_store(cluster, folder),
    )


def _await_end(scene: Scene) -> None:
    """Wait for the job.

    Milvus exits by itself after a pause longer than the session of its components (15 s), since
    another instance may have replaced it; its operator starts it again.
    """
    deadline = time.monotonic() + _LONGEST_S
    while not (job := scene.board.status(scene.job_id)).ended:
        assert time.monotonic() < deadline, f"after {_LONGEST_S} s the job stands so: {job}"
        scene.cluster.milvus.start_again()
        time.sleep(0.1)


def _end(command: subprocess.Popen[str]) -> None:
    """Wait for the command, if it was not killed."""
    if command.poll() is None:
        out, err = command.communicate(timeout=60)
        assert command.returncode == 0, err
        assert json.loads(out)["failed"] >= 0


def _play_uploads(cluster: Cluster, folder: Path, chance: random.Random) -> Round:
    broken, _ = expected(folder)
    for name in broken:
        (folder / name).unlink()
    board = JobBoard(cluster.broker, patience_s=60)
    started = time.monotonic()
    api = Api(cluster.folder, **cluster.env)
    try:
        wait_for(api.is_ready, 90, "the API")
        files = sorted(folder.iterdir())
        struck_at = upload_all(api, files, chance)
        wait_for(lambda: not board.unfinished(), 120, "the uploads' jobs")
    finally:
        api.kill()
    wall_s = round(time.monotonic() - started, 1)
    wrong = faults_of_store(cluster, folder)
    return Round(UPLOADS, len(files), len(files), 0, struck_at, None, wall_s, wrong)


def check(cluster: Cluster, folder: Path, report: dict[str, Any]) -> None:
    """Check: each content and segment once, no half assets, the right dead letters and counts."""
    assert faults_of(folder, report) == []
    assert faults_of_store(cluster, folder) == []


def faults_of(folder: Path, report: dict[str, Any]) -> list[str]:
    """Errors in the report of a folder."""
    broken, contents = expected(folder)
    failures = {Path(failure["uri"]).name: failure for failure in report["failures"]}
    wrong = [f"set aside: {failures[name]}" for name in failures.keys() - broken]
    wrong += [f"{name} is not set aside" for name in broken - failures.keys()]
    n_good = sum(map(len, contents.values()))
    n_told = report["ingested"] + report["unchanged"]
    if n_told != n_good:
        wrong.append(f"{n_told} files are reported instead of {n_good}")
    # A copy in a different shard from the first file finds its content already stored.
    if report["ingested"] < len(contents):
        wrong.append(f"{report['ingested']} files ingested, of {len(contents)} contents")
    return wrong


@contextmanager
def stage(
    folder: Path, kind: str, milvus: str, lease_s: float = 4.0
) -> Iterator[tuple[Cluster, Disk | None]]:
    """A cluster for rounds of a kind."""
    settings = {**_SETTINGS, "ANYMODAL_LEASE_S": str(lease_s)}
    with ExitStack() as stack:
        if kind == FULL_DISK:
            disk = stack.enter_context(small_disk(folder / "disk", _DISK_MB))
            store = disk.folder / "store"
            yield (
                stack.enter_context(
                    running(folder / "cluster", workers=2, milvus=store, **settings)
                ),
                disk,
            )
        else:
            cluster = running(
                folder / "cluster", workers=2, milvus=milvus, proxied=True, **settings
            )
            yield stack.enter_context(cluster), None


def series(n_rounds: int, kinds: list[str], stores: list[str]) -> list[tuple[int, str, str]]:
    """Number, kind and store of each round: all kinds on one store, then on the next one."""
    passes = ((kind, stores[turn % len(stores)]) for turn in numbers() for kind in kinds)
    return [(number, *one) for number, one in enumerate(islice(passes, n_rounds))]


def main(words: list[str] | None = None) -> int:
    """Print one line of a Markdown table for each round; return how many were not clean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=len(KINDS))
    parser.add_argument("--files", type=int, default=60, help="of each job")
    parser.add_argument("--hold", type=float, default=30.0, help="seconds of a SIGSTOP")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--stores", default="lite,server")
    options = parser.parse_args(words)
    say(*_HEADINGS)
    say(*["---"] * len(_HEADINGS))
    unclean = 0
    rounds = series(options.rounds, options.kinds.split(","), options.stores.split(","))
    with tempfile.TemporaryDirectory() as name, _Stages(Path(name)) as stages:
        for number, kind, store in rounds:
            try:
                cluster, disk = stages.get(kind, store)
                played = play(
                    cluster,
                    Path(name) / f"media{number}",
                    kind,
                    options.files,
                    number,
                    hold_s=options.hold,
                    disk=disk,
                )
            except (AssertionError, OSError, subprocess.SubprocessError, RuntimeError) as error:
                unclean += 1
                say(number, kind, store, f"BROKEN OFF: {str(error)[:2000]}")
                stages.close()
                continue
            unclean += bool(played.wrong)
            tell(number, "shared folder" if disk else store, played)
    sys.stdout.write(f"\n{len(rounds)} rounds, {unclean} not clean\n")
    return unclean


def tell(number: int, store: str, r: Round) -> None:
    """Print a round's line and, below it, what was wrong."""
    taken = "" if r.taken_up_s is None else r.taken_up_s
    cells = (number, r.kind, store, r.n_files, r.ingested, r.failed, r.struck_at_file, taken)
    say(*cells, r.wall_s, len(r.wrong))
    if r.wrong:
        sys.stdout.write(f"\nNOT CLEAN: {r.wrong}\n\n")


class _Stages:
    """The cluster of the previous round, if the next one can use it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._open: tuple[bool, str] | None = None
        self._number = 0

    def __enter__(self) -> _Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, kind: str, store: str) -> tuple[Cluster, Disk | None]:
        wanted = (kind == FULL_DISK, store)
        if self._open != wanted:
            self.close()
            self._number += 1
            folder = self._folder / f"stage{self._number}"
            folder.mkdir()
            self._parts = self._stack.enter_context(stage(folder, kind, store))
            self._open = wanted
        return self._parts

    def close(self) -> None:
        self._stack.close()
        self._open = None


def say(*cells: object) -> None:
    """Print a row of the table, and flush."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(min(main(), 1))
