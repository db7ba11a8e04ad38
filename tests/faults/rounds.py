"""A job of mixed files, something killed in the middle, and what must be true at its end.

``python -m tests.faults.rounds 20 300 server`` plays 20 rounds of 300 files on the genuine Milvus
server, or with ``lite`` on Milvus Lite over gRPC, and prints a table.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from benchmarks.milvus_server import MilvusServer
from encoder.types import AUDIO, IMAGE, TEXT
from search.store.open import open_store
from search.store.schema import segment_id
from tests.faults.cluster import Cluster, Part, answers, wait_for
from tests.faults.tiny_worker import DIM, SPACE
from workers.board import JobBoard

KINDS = ("child", "worker", "redis", "milvus")
_CORRUPT_EVERY = 20
_COPY_EVERY = 15


@dataclass(frozen=True)
class Round:
    """What a round showed; times in seconds."""

    kind: str
    n_files: int
    ingested: int
    failed: int
    killed_at_file: int
    redelivered_s: float | None
    wall_s: float


def make_media(folder: Path, n_files: int, seed: int) -> None:
    """Texts, pictures and sounds; some broken; some with the content of another."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(n_files):
        name = folder / f"{number:04d}"
        if number % _CORRUPT_EVERY == 7:
            name.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20 + number))
        elif number % _COPY_EVERY == 11:
            name.with_suffix(".txt").write_text(_words(seed, number - 1))
        elif number % 5 == 3:
            noise = rng.integers(0, 255, (24, 32, 3), np.uint8)
            Image.fromarray(noise).save(name.with_suffix(".png"))
        elif number % 12 == 4:
            sound = rng.normal(0, 0.1, 8000).astype(np.float32)
            soundfile.write(name.with_suffix(".wav"), sound, 8000)
        else:
            name.with_suffix(".txt").write_text(_words(seed, number))


def _words(seed: int, number: int) -> str:
    return "\n\n".join(f"Round {seed}, note {number}, part {part}. " * 20 for part in range(3))


def play(cluster: Cluster, folder: Path, kind: str, n_files: int, seed: int) -> Round:
    """One job with one kill; raises AssertionError where something was lost or is there twice."""
    chance = random.Random(seed)
    make_media(folder, n_files, seed)
    board = JobBoard(cluster.broker, patience_s=60)
    before = {job.job_id for job in board.jobs()}
    started = time.monotonic()
    process = cluster.ingest(folder, "--json")
    try:
        wait_for(lambda: {j.job_id for j in board.jobs()} != before, 30, "the plan")
        job_id = next(j.job_id for j in board.jobs() if j.job_id not in before)
        goal = chance.randint(1, n_files // 2)
        wait_for(lambda: board.view(job_id).n_done >= goal, 120, "the first files")
        time.sleep(chance.random() * 0.3)
        killed_at = board.view(job_id).n_done
        redelivered_s = strike(cluster, board, job_id, kind, chance)
        out, err = process.communicate(timeout=180)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 0, err
    report = json.loads(out)
    check(cluster, folder, report)
    job = board.view(job_id)
    assert (job.state, job.n_done, job.open_shards) == ("done", n_files, 0)
    wall_s = time.monotonic() - started
    return Round(
        kind,
        n_files,
        job.ingested + job.unchanged,
        job.failed,
        killed_at,
        redelivered_s,
        round(wall_s, 1),
    )


def strike(
    cluster: Cluster, board: JobBoard, job_id: str, kind: str, chance: random.Random
) -> float | None:
    """Kill -9, wait a moment, start again; how long until what a worker held was taken up."""
    worker = chance.choice(cluster.workers)
    held = board.leased(job_id)
    struck = time.monotonic()
    if kind == "child":
        os.kill(chance.choice(worker.children()), signal.SIGKILL)
    else:
        part = {"worker": worker, "redis": cluster.redis, "milvus": cluster.milvus}[kind]
        part.kill()
        time.sleep(chance.random() * 2)
        part.start()
        _wait_until_up(cluster, part)
    if kind not in ("child", "worker"):
        return None
    wait_for(lambda: not held & _untouched(board, job_id), 60, "the redelivery")
    return round(time.monotonic() - struck, 1)


def _untouched(board: JobBoard, job_id: str) -> set[str]:
    """Open shards that were taken once at most."""
    tries = board.tries(job_id)
    return {shard for shard in board.open_shards(job_id) if tries.get(shard, 0) < 2}


def _wait_until_up(cluster: Cluster, part: Part | MilvusServer) -> None:
    if part is cluster.redis:
        wait_for(lambda: answers(cluster.redis_port), 30, "Redis")
    if part is cluster.milvus:
        cluster.milvus.wait_until_ready()
    assert part.process.poll() is None, part.log()


def check(cluster: Cluster, folder: Path, report: dict[str, Any]) -> None:
    """Each content and segment once, no asset half there, the right dead letters, right counts."""
    broken, contents = expected(folder)
    failures = {Path(f["uri"]).name: f for f in report["failures"]}
    wrong = [failure for name, failure in failures.items() if name not in broken]
    assert not wrong, wrong[0]
    assert set(failures) == broken
    n_good = sum(map(len, contents.values()))
    assert report["ingested"] + report["unchanged"] == n_good
    # A copy in another shard than the file that was first finds its content stored.
    assert report["ingested"] >= len(contents)
    store = open_store(cluster.milvus.uri, SPACE.fingerprint, DIM)
    try:
        rows = [r for r in store.scan() if r.locations[0].startswith(str(folder))]
        assert len(rows) == len(contents)
        found = sorted(sorted(Path(uri).name for uri in row.locations) for row in rows)
        assert found == sorted(map(sorted, contents.values()))
        query = np.zeros((1, DIM), np.float32)
        query[0, 0] = 1
        here = {row.asset_id for row in rows}
        hits = [h for m in (TEXT, IMAGE, AUDIO) for h in store.search(query, m, 16_000)[0]]
        keys = Counter(hit.segment_id for hit in hits if hit.asset_id in here)
        wanted = {
            segment_id(row.asset_id, row.modality, index, SPACE.fingerprint)
            for row in rows
            for index in range(row.n_segments)
        }
        assert set(keys) == wanted
        assert set(keys.values()) <= {1}
        known = {row.asset_id for row in store.scan()}
        assert {hit.asset_id for hit in hits} <= known, "segments without a commit row"
    finally:
        store.close()


def expected(folder: Path) -> tuple[set[str], dict[bytes, list[str]]]:
    """The names of broken files, and the other names by content."""
    broken: set[str] = set()
    contents: dict[bytes, list[str]] = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if content.startswith(b"\x89PNG") and not content.endswith(b"IEND\xaeB`\x82"):
            broken.add(path.name)
        else:
            contents.setdefault(content, []).append(path.name)
    return broken, contents


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster for the length of the block."""
    cluster = Cluster(folder, **options)
    try:
        yield cluster
    finally:
        cluster.close()


def main(n_rounds: int, n_files: int, milvus: str) -> None:
    """Print one line of a Markdown table for each round."""
    say("round", "killed", "files", "ingested", "set aside", "at file", "taken up s", "wall s")
    say(*["---"] * 8)
    with tempfile.TemporaryDirectory() as name, _cluster(Path(name), milvus) as cluster:
        for number in range(n_rounds):
            kind = KINDS[number % len(KINDS)]
            r = play(cluster, Path(name) / f"media{number}", kind, n_files, seed=number)
            taken = "" if r.redelivered_s is None else r.redelivered_s
            say(number, kind, r.n_files, r.ingested, r.failed, r.killed_at_file, taken, r.wall_s)


def _cluster(folder: Path, milvus: str) -> AbstractContextManager[Cluster]:
    return running(folder / "cluster", milvus=milvus, ANYMODAL_SHARD_FILES="16")


def say(*cells: object) -> None:
    """A row of the table, at once."""
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
