"""A worker's limits: seconds of a task, seconds of a shutdown, megabytes of a process."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.faults.cluster import IN_WORKERS, Cluster
from tests.faults.rounds import running
from tests.support.valkey import tries_of
from tests.support.waiting import wait_for
from workers.jobs.board import JobBoard


def notes(folder: Path, n: int, **others: str) -> Path:
    """A folder of ``n`` harmless texts, and others by name."""
    folder.mkdir()
    for number in range(n):
        (folder / f"{number:02d}.txt").write_text(f"Note {number} of {folder.name}.")
    for name, text in others.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def begin(cluster: Cluster, folder: Path) -> tuple[JobBoard, str]:
    return JobBoard(cluster.broker), cluster.anymodal("ingest", folder, "--detach")["job"]


def test_a_shard_that_takes_too_long_is_divided_and_the_slow_file_found(tmp_path: Path) -> None:
    """Its neighbours are ingested, in shards of their own."""
    flag = tmp_path / "for-ever"
    flag.touch()
    folder = notes(tmp_path / "media", 6, slow=f"wait while {flag} exists")
    with running(tmp_path / "cluster", ANYMODAL_TASK_TIMEOUT_S="15", **IN_WORKERS) as cluster:
        board, job_id = begin(cluster, folder)
        wait_for(lambda: board.status(job_id).ended, 120, "the job")
        job = board.status(job_id)
        [letter] = board.failures(job_id)
        assert (job.state, job.ingested, job.failed) == ("done", 6, 1)
        assert (Path(letter.uri).name, letter.error) == ("slow.txt", "TooLongError")
        assert "ANYMODAL_TASK_TIMEOUT_S" in letter.reason

        flag.unlink()  # no longer slow: the retry ingests it
        assert cluster.anymodal("jobs", "retry", job_id)["retried"] == 1
        wait_for(lambda: board.status(job_id).ended, 60, "the retry")
        assert (board.status(job_id).ingested, board.status(job_id).failed) == (7, 0)


def test_a_worker_that_is_to_stop_gives_back_what_it_cannot_finish(tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    flag.touch()
    folder = notes(tmp_path / "media", 3, slow=f"wait while {flag} exists")
    with running(tmp_path / "cluster", ANYMODAL_SHUTDOWN_S="1", **IN_WORKERS) as cluster:
        board, job_id = begin(cluster, folder)
        wait_for(lambda: bool(board.shards.leased(job_id)), 60, "the start")
        [worker] = cluster.workers
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(60)
        job = board.status(job_id)
        # The second looks for files that are gone, once the first is done.
        assert (job.state, job.n_done, job.open_shards) == ("running", 0, 2)
        assert set(tries_of(board, job_id).values()) == {0}  # it counts against no shard

        flag.unlink()
        worker.start()
        wait_for(lambda: board.status(job_id).ended, 60, "the job")
        job = board.status(job_id)
        assert (job.state, job.ingested, job.failed) == ("done", 4, 0)


def test_a_process_that_has_grown_is_replaced_once(tmp_path: Path) -> None:
    """The new process takes up the work; it is not replaced after each of its own tasks."""
    folder = notes(tmp_path / "media", 16, greedy="keep 400 MB")
    later = notes(tmp_path / "later", 16)
    env = {"ANYMODAL_CHILD_GROWTH_MB": "300", "ANYMODAL_SHARD_FILES": "2"}
    with running(tmp_path / "cluster", **IN_WORKERS, **env) as cluster:
        [worker] = cluster.workers
        first = set(worker.children())
        assert len(first) == 2
        board, job_id = begin(cluster, folder)
        wait_for(lambda: board.status(job_id).ended, 60, "the job")
        wait_for(lambda: len(set(worker.children()) - first) == 1, 30, "the replacement")
        wait_for(lambda: len(worker.children()) == 2, 30, "the replacement")
        second = set(worker.children())
        assert len(first & second) == 1
        job = board.status(job_id)
        assert (job.state, job.ingested, job.failed) == ("done", 17, 0)

        board, job_id = begin(cluster, later)
        wait_for(lambda: board.status(job_id).ended, 60, "the second job")
        assert board.status(job_id).ingested == 16
        assert set(worker.children()) == second
