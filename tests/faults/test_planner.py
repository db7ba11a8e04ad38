"""The process that finds a job's files is stopped or killed: a worker finds the rest."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import IN_WORKERS, Cluster
from tests.faults.rounds import check, make_media, running
from tests.support.waiting import wait_for
from workers.cli.jobs import report_of
from workers.jobs.board import JobBoard

N_FILES = 32


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    few = {"ANYMODAL_SHARD_FILES": "2", "ANYMODAL_QUEUE_SHARDS": "2"}  # planning takes a while
    with running(tmp_path_factory.mktemp("cluster") / "parts", **IN_WORKERS, **few) as cluster:
        yield cluster


def begin(cluster: Cluster, board: JobBoard, media: Path, seed: int) -> tuple[str, int]:
    """A job in the middle of its planning, and the pid of the process that plans it."""
    make_media(media, N_FILES, seed)
    job_id = json.loads(cluster.ingest(media, "--detach").communicate(timeout=60)[0])["job"]
    wait_for(lambda: board.status(job_id).n_done >= 4, 60, "the first files")
    job = board.status(job_id)
    assert job.state == "planning"
    return job_id, int(job.planner.split("-")[-2])


def end(cluster: Cluster, board: JobBoard, media: Path, job_id: str) -> None:
    wait_for(lambda: board.status(job_id).ended, 90, "the job")
    job = board.status(job_id)
    assert (job.state, job.n_files, job.n_done) == ("done", N_FILES, N_FILES)
    check(cluster, media, report_of(job, board.failures(job.job_id)).as_json())


def test_a_planner_that_was_stopped_for_a_while_leaves_the_job(
    cluster: Cluster, tmp_path: Path
) -> None:
    board = JobBoard(cluster.broker)
    job_id, planner = begin(cluster, board, tmp_path / "media", 2)
    os.kill(planner, signal.SIGSTOP)
    try:
        first = board.status(job_id).planner
        wait_for(lambda: board.status(job_id).planner not in (first, ""), 60, "the takeover")
    finally:
        os.kill(planner, signal.SIGCONT)
    wait_for(lambda: not Path(f"/proc/{planner}").exists(), 60, "the end of the first planner")
    end(cluster, board, tmp_path / "media", job_id)


def test_a_retry_within_the_lease_waits_and_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    board = JobBoard(cluster.broker)
    for worker in cluster.workers:
        worker.process.send_signal(signal.SIGSTOP)  # so that no worker takes over first
    try:
        media = tmp_path / "media"
        make_media(media, N_FILES, 3)
        job_id = json.loads(cluster.ingest(media, "--detach").communicate(timeout=60)[0])["job"]
        wait_for(lambda: board.status(job_id).n_files > 0, 60, "the first shards")
        os.kill(int(board.status(job_id).planner.split("-")[-2]), signal.SIGKILL)
        assert not board.status(job_id).planner_lost  # its lease goes on
        assert cluster.anymodal("jobs", "retry", job_id)["planned_on"]
        wait_for(lambda: board.status(job_id).planner != "", 60, "the next planner")
    finally:
        for worker in cluster.workers:
            worker.process.send_signal(signal.SIGCONT)
    end(cluster, board, media, job_id)


def test_a_retry_leaves_a_planner_that_lives_alone(cluster: Cluster, tmp_path: Path) -> None:
    board = JobBoard(cluster.broker)
    job_id, _ = begin(cluster, board, tmp_path / "media", 4)
    planner = board.status(job_id).planner
    answer = cluster.anymodal("jobs", "retry", job_id)
    assert not answer["planned_on"]
    assert board.status(job_id).planner == planner
    end(cluster, board, tmp_path / "media", job_id)
