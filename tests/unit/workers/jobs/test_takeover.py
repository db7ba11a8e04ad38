"""A planner that falls silent: what it added stays, and another one goes on, on a real Valkey."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from search.types import IngestRequest
from tests.unit.workers.jobs.planned import later, sent_of
from workers.config import Settings
from workers.jobs.board import JobBoard
from workers.jobs.planner import files_of_job, plan
from workers.jobs.recovery import Takeover
from workers.jobs.redis import RedisJobs
from workers.jobs.shard import Shard, queue_name
from workers.pipeline.reports import IngestReport

Sent = list[tuple[str, str, Shard]]
LEASE_S = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        (tmp_path / f"{number:02}.{'mp4' if number % 4 == 3 else 'txt'}").write_text("x")
    return tmp_path


def names_of(sent: Sent) -> list[str]:
    return sorted(Path(path).name for _, _, shard in sent for path in shard.paths)


def die_after(board: JobBoard, job_id: str, n_files: int) -> Sent:
    """Plan as a process that is killed: it neither ends the plan nor leaves it."""

    class Killed(BaseException):
        pass

    def files() -> Iterator[str]:
        for place, path in enumerate(files_of_job(board, job_id)):
            if place == n_files:
                raise Killed
            yield path

    sent: Sent = []
    with pytest.raises(Killed):
        plan(board, job_id, files(), lambda *m: sent.append(m), shard_files=2, queue_shards=99)
    return sent


def plan_all(board: JobBoard, job_id: str) -> Sent:
    return sent_of(board, job_id, files_of_job(board, job_id))


def finish_all(board: JobBoard, sent: Sent) -> None:
    for job_id, shard_id, shard in sent:
        board.shards.claim(job_id, shard_id)
        board.shards.finish(job_id, shard_id, IngestReport(ingested=len(shard.paths)))


def test_another_planner_goes_on_where_one_died(board: JobBoard, folder: Path) -> None:
    job_id = board.create(IngestRequest([str(folder)]))
    before = die_after(board, job_id, 7)
    assert 0 < len(names_of(before)) < 12
    assert plan_all(board, job_id) == []  # its lease is not over
    later(board, LEASE_S)
    after = plan_all(board, job_id)
    assert names_of(before + after) == sorted(path.name for path in folder.iterdir())
    finish_all(board, before + after)
    job = board.status(job_id)
    assert (job.state, job.n_files, job.ingested) == ("done", 12, 12)


def test_what_a_planner_added_is_known_though_files_came_and_went(
    board: JobBoard, folder: Path
) -> None:
    job_id = board.create(IngestRequest([str(folder)]))
    before = die_after(board, job_id, 7)
    done = names_of(before)
    (folder / "00.txt").unlink()
    (folder / "99.txt").write_text("x")
    later(board, LEASE_S)
    assert Counter(names_of(before + plan_all(board, job_id))) == Counter(
        {*done, *(path.name for path in folder.iterdir())}
    )


def test_no_file_is_left_out_where_the_last_one_is_gone(board: JobBoard, folder: Path) -> None:
    job_id = board.create(IngestRequest([str(folder)]))
    die_after(board, job_id, 7)
    Path(board.planners.cursors(job_id)["text"]).unlink()
    later(board, LEASE_S)
    after = plan_all(board, job_id)
    assert {path.name for path in folder.glob("*.txt")} <= set(names_of(after))


def test_a_planner_that_is_asked_to_stop_leaves_the_rest_at_once(
    board: JobBoard, folder: Path
) -> None:
    job_id = board.create(IngestRequest([str(folder)]))
    sent: Sent = []
    plan(
        board,
        job_id,
        files_of_job(board, job_id),
        lambda *m: sent.append(m),
        shard_files=2,
        queue_shards=99,
        stopped=lambda: len(sent) > 1,
    )
    assert board.planners.orphans("w") == [job_id]
    assert len(names_of(sent + plan_all(board, job_id))) == 12


def looking(board: JobBoard, name: str, started: list[str], code: str = "") -> Takeover:
    """A worker whose planners only run this code."""

    def start(job_id: str, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        started.append(job_id)
        return subprocess.Popen([sys.executable, "-c", code], stderr=stderr)

    return Takeover(board, start, name)


def wait_for_planners(worker: Takeover) -> None:
    for _, process, _ in worker._planners:
        process.wait(30)
    worker.look()  # and close what they said


def orphan(board: JobBoard, paths: Sequence[str]) -> str:
    job_id = board.create(IngestRequest(paths))
    board.planners.begin(job_id, "dead")
    later(board, LEASE_S)
    return job_id


def test_one_of_several_workers_takes_a_job_over(board: JobBoard, folder: Path) -> None:
    job_id = orphan(board, [str(folder)])
    started: list[str] = []
    workers = [looking(board, f"w{n}", started) for n in range(3)]
    assert [worker.look() for worker in workers] == [1, 0, 0]
    assert started == [job_id]
    for worker in workers:
        wait_for_planners(worker)
    assert not any(worker._planners for worker in workers)  # none is left as a zombie


def test_a_worker_that_does_not_see_the_files_leaves_them_to_one_that_does(
    board: JobBoard, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = orphan(board, [str(folder), "https://example.org/a.txt"])
    started: list[str] = []
    blind, seeing = looking(board, "blind", started), looking(board, "seeing", started)
    board.planners.orphans("seeing")
    with monkeypatch.context() as patch:
        patch.setattr("os.path.lexists", lambda _: False)
        blind.look()
        later(board, 2 * LEASE_S)
        blind.look()
    job = board.status(job_id)
    assert job.planner_lost
    assert job.declined == {"blind": f"{folder} does not exist on any worker's machine"}
    assert seeing.look() == 1
    wait_for_planners(seeing)
    seeing.look()  # it closes what the planner said


def test_a_job_whose_files_nobody_sees_fails_and_says_why(board: JobBoard) -> None:
    job_id = orphan(board, ["/nowhere"])
    started: list[str] = []
    workers = [looking(board, f"w{n}", started) for n in range(2)]
    for worker in workers:
        worker.look()
    assert board.status(job_id).state == "planning"  # a worker that sees them may still come
    later(board, 2 * LEASE_S)
    workers[0].look()
    job = board.status(job_id)
    assert (job.state, job.ended, started) == ("failed", True, [])
    assert job.reason == "/nowhere does not exist on any worker's machine"
    assert board.running() == []


def test_a_planner_that_cannot_start_is_tried_three_times_and_says_why(
    board: JobBoard, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = orphan(board, [str(folder)])
    started: list[str] = []
    worker = looking(board, "w", started, "raise SystemExit('no module named x')")
    for _ in range(6):
        worker.look()
        wait_for_planners(worker)
        later(board, 2 * LEASE_S)
    assert len(started) == 3
    assert [record.getMessage() for record in caplog.records if "module" in record.getMessage()]
    job = board.status(job_id)
    assert (job.state, job.reason) == ("failed", "Its planner cannot be started: no module named x")


@pytest.mark.slow
def test_a_job_keeps_its_lease_while_all_planners_are_busy(url: str, folder: Path) -> None:
    board = JobBoard(url, lease_s=1, patience_s=0.5)
    board.link.redis.flushall()
    board.link.redis.lpush(queue_name("text"), "a message that nobody takes")
    settings = Settings(broker=url, queue_shards=1)
    with closing(RedisJobs(board, settings)) as jobs:
        ids = [jobs.submit(IngestRequest([str(folder / "00.txt")])) for _ in range(6)]
        for _ in range(30):
            time.sleep(0.1)
            assert board.planners.orphans("w") == []
        assert {jobs.status(job_id).state for job_id in ids} == {"planning"}
    time.sleep(1.2)
    assert sorted(board.planners.orphans("w")) == sorted(ids)


def test_what_was_added_is_done_before_a_job_fails(board: JobBoard) -> None:
    job_id = board.create(IngestRequest(["/nowhere"]))
    board.planners.begin(job_id, "p")
    board.shards.add(job_id, "s", Shard("text", IngestRequest(["/a.txt"])), "p")
    board.planners.fail(job_id, "p", "Its files cannot be found: no.")
    assert board.status(job_id).state == "running"
    board.shards.claim(job_id, "s")
    board.shards.finish(job_id, "s", IngestReport(ingested=1))
    assert (board.status(job_id).state, board.status(job_id).ingested) == ("failed", 1)


def test_a_planner_that_breaks_says_why(board: JobBoard) -> None:
    job_id = board.create(IngestRequest(["/data"]))

    def broken() -> Iterator[str]:
        yield "/a.txt"
        raise OSError("Stale file handle")

    with pytest.raises(OSError, match="Stale"):
        plan(board, job_id, broken(), lambda *_: None, shard_files=1, queue_shards=9)
    assert "Stale file handle" in board.status(job_id).reason
