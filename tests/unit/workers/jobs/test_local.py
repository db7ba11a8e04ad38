"""Jobs without a broker: they end as those on a broker do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import pytest

from encoder import MultiModalEncoder
from encoder.errors import DiskError
from search.errors import SpaceMismatchError, StoreError, StoreUnavailableError
from search.jobs import Job
from search.store.memory import MemoryStore
from search.types import IngestRequest
from search.uploads import UploadFolder
from tests.support.valkey import tries_of
from tests.support.waiting import wait_for
from workers.jobs import local
from workers.jobs.board import JobBoard
from workers.jobs.local import LocalJobs
from workers.jobs.shard import Shard
from workers.jobs.shard_run import ShardRun
from workers.pipeline import IngestPipeline
from workers.pipeline.ingest_pipeline import retry
from workers.pipeline.reports import IngestReport
from workers.pipeline.retry import MAX_CRASHES, MAX_RETRIES


@pytest.fixture
def pipeline(encoder: MultiModalEncoder) -> IngestPipeline:
    return IngestPipeline(encoder, MemoryStore(encoder.embed_dim))


@pytest.fixture
def jobs(pipeline: IngestPipeline, tmp_path: Path) -> Iterator[LocalJobs]:
    with closing(LocalJobs(pipeline, UploadFolder(tmp_path / "uploads"))) as jobs:
        yield jobs


def note(path: Path, text: str = "The ferry leaves at nine.") -> list[str]:
    path.write_text(text)
    return [str(path)]


def ended(jobs: LocalJobs, job_id: str) -> Job:
    wait_for(lambda: jobs.status(job_id).ended)
    return jobs.status(job_id)


def test_a_running_job_is_never_forgotten(
    jobs: LocalJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: IngestPipeline
) -> None:
    monkeypatch.setattr(local, "_MOST_JOBS", 3)
    go = Event()
    with monkeypatch.context() as patch:
        patch.setattr(type(pipeline.store), "check_writable", lambda _: go.wait(60))
        slow = jobs.submit(IngestRequest(note(tmp_path / "slow.txt")))
        for _ in range(9):
            ended(jobs, jobs.submit(IngestRequest([])))
        assert jobs.status(slow).state == "running"
        assert len(jobs.recent()) <= 4
        go.set()
        assert ended(jobs, slow).ingested == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), MemoryError()])
def test_a_job_that_breaks_fails_and_says_why(
    jobs: LocalJobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(IngestPipeline, "forget", broken)
    with caplog.at_level(logging.ERROR):
        job = ended(jobs, jobs.submit(IngestRequest(note(tmp_path / "a.txt"))))
    assert (job.state, job.reason) == ("failed", str(error) or "MemoryError")
    assert (job.ingested, job.failed) == (1, 0)
    assert job.job_id in caplog.text
    assert "Traceback" in caplog.text


def test_a_full_disk_is_waited_for_and_said(
    jobs: LocalJobs, pipeline: IngestPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise DiskError("/data/store cannot be written: No space left on device.")

    monkeypatch.setattr(retry, "_DISK_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(type(pipeline.store), "check_writable", refuse)
        job_id = jobs.submit(IngestRequest(note(tmp_path / "a.txt")))
        wait_for(lambda: jobs.status(job_id).waits_for)
        assert (jobs.status(job_id).state, jobs.status(job_id).failed) == ("running", 0)
    job = ended(jobs, job_id)
    assert (job.state, job.ingested, job.waits_for) == ("done", 1, "")


def test_a_store_that_is_away_at_the_end_is_waited_for(
    jobs: LocalJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, forget = list[None](), IngestPipeline.forget

    def away(self: IngestPipeline, *what: Any) -> Any:
        times.append(None)
        if len(times) < 9:  # more often than other errors are forgiven
            raise StoreUnavailableError("The store is away.")
        return forget(self, *what)

    monkeypatch.setattr(retry, "delay_s", lambda *_: 0.0)
    monkeypatch.setattr(IngestPipeline, "forget", away)
    job = ended(jobs, jobs.submit(IngestRequest(note(tmp_path / "a.txt"))))
    assert (job.state, job.ingested, job.failed, job.waits_for) == ("done", 1, 0, "")


def test_a_cancelled_upload_is_removed_under_the_lock_of_its_content(
    jobs: LocalJobs, pipeline: IngestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = jobs._uploads.begin("note.txt")
    upload.write(b"The ferry leaves at nine.")
    path = upload.keep({})
    (asset_id,) = jobs._uploads.owners_of([str(path)])
    go = Event()
    monkeypatch.setattr(type(pipeline.store), "check_writable", lambda _: go.wait(60))
    job_id = jobs.submit(IngestRequest([str(path)]))
    assert jobs.cancel(job_id)
    with pipeline.store.locks.of([asset_id]):
        go.set()
        sleep(0.5)
        assert path.exists()
        assert not jobs.status(job_id).ended
    assert ended(jobs, job_id).state == "cancelled"
    assert not path.exists()


@pytest.fixture
def job(board: JobBoard) -> str:
    job_id = board.create(IngestRequest(["/data"]))
    board.planners.begin(job_id, "p")
    board.shards.add(job_id, "s", Shard("text", IngestRequest(["/a.txt", "/b.txt"])), "p")
    board.planners.finish(job_id, "p")
    return job_id


class Work:
    """Raises what it is given, one error a call, then ingests."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(
        self,
        request: IngestRequest,
        begun: Callable[[Sequence[str]], set[str]],
        _go_on: Callable[[], bool],
    ) -> IngestReport:
        self.calls += 1
        self.request = request
        begun(request.paths)
        if self.errors:
            raise self.errors.pop(0)
        return IngestReport(ingested=len(request.paths))


def run_of(board: JobBoard, work: Work) -> ShardRun:
    return ShardRun(
        board,
        work,
        reopen=lambda: None,
        publish=lambda *_: None,
        limit_s=120.0,
        shutdown_s=60.0,
    )


@pytest.mark.slow
def test_a_store_that_is_away_is_waited_for_in_place(board: JobBoard, job: str) -> None:
    work = Work(StoreUnavailableError("away"))
    assert run_of(board, work).run(job, "s") == "done"
    assert (work.calls, board.status(job).ingested) == (2, 2)


def test_a_store_that_stays_away_burns_no_try(board: JobBoard, job: str) -> None:
    run = replace(run_of(board, Work(*[StoreUnavailableError("away")] * 9)), limit_s=0.0)
    for _ in range(MAX_RETRIES + MAX_CRASHES):
        assert run.run(job, "s") == "waits"
        board.link.redis.delete(f"anymodal:job:{job}:lease")  # its wait is over
    assert tries_of(board, job) == {"s": 0}
    assert board.status(job).failed == 0


def test_a_full_disk_gives_the_shard_back_at_once_and_says_why(board: JobBoard, job: str) -> None:
    work = Work(*[DiskError("/data cannot be written: it is full.")] * 9)
    for _ in range(MAX_RETRIES + MAX_CRASHES):
        assert run_of(board, work).run(job, "s") == "waits"
        assert board.status(job).waits_for == "/data cannot be written: it is full."
        board.link.redis.delete(f"anymodal:job:{job}:lease")  # its wait is over
    assert (work.calls, tries_of(board, job)) == (MAX_RETRIES + MAX_CRASHES, {"s": 0})
    work.errors.clear()
    assert run_of(board, work).run(job, "s") == "done"
    assert (board.status(job).state, board.status(job).waits_for) == ("done", "")


def test_what_cannot_heal_is_set_aside_at_once_with_its_reason(board: JobBoard, job: str) -> None:
    work = Work(SpaceMismatchError("another space", "Reindex."))
    assert run_of(board, work).run(job, "s") == "set aside"
    letters = {letter.uri: (letter.error, letter.reason) for letter in board.failures(job)}
    why = ("SpaceMismatchError", "another space Reindex.")
    assert letters == {"/a.txt": why, "/b.txt": why}
    assert work.calls == 1


def test_an_error_of_the_store_is_tried_again_later(board: JobBoard, job: str) -> None:
    began_s = time.time()
    assert run_of(board, Work(StoreError("not loaded"))).run(job, "s") == "waits"
    lease = board.link.redis.zscore(f"anymodal:job:{job}:lease", "s")
    assert began_s + 0.5 < lease < time.time() + 2
    for _ in range(MAX_RETRIES):
        board.link.redis.delete(f"anymodal:job:{job}:lease")
        assert board.status(job).failed == 0
        run_of(board, Work(StoreError("not loaded"))).run(job, "s")
    assert board.status(job).failed == 2


def test_what_nobody_foresaw_costs_only_the_file_that_causes_it(board: JobBoard, job: str) -> None:
    def work(
        request: IngestRequest,
        begun: Callable[[Sequence[str]], set[str]],
        _go_on: Callable[[], bool],
    ) -> IngestReport:
        begun(request.paths)
        if "/a.txt" in request.paths:
            raise ValueError("a decoder's own")
        return IngestReport(ingested=len(request.paths))

    run = replace(run_of(board, Work()), ingest=work)
    while not board.status(job).ended:
        for shard_id in board.shards.open(job):
            board.link.redis.delete(f"anymodal:job:{job}:lease")  # its wait is over
            run.run(job, shard_id)
    view = board.status(job)
    assert (view.state, view.ingested, view.failed) == ("done", 1, 1)
    assert [(one.uri, one.error) for one in board.failures(job)] == [("/a.txt", "ValueError")]


def test_a_second_delivery_leaves_a_shard_that_is_held(board: JobBoard, job: str) -> None:
    assert board.shards.claim(job, "s")
    work = Work()
    assert run_of(board, work).run(job, "s") == "left"
    assert work.calls == 0


def test_a_cancelled_job_ends_in_the_middle_of_a_shard(
    board: JobBoard, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "lease_s", 0.4)  # it beats four times as often

    def work(
        request: IngestRequest,
        begun: Callable[[Sequence[str]], set[str]],
        go_on: Callable[[], bool],
    ) -> IngestReport:
        begun(request.paths)
        assert go_on()
        board.cancel(job)
        assert board.status(job).state == "cancelling"
        while go_on():  # pytest's time limit ends it
            time.sleep(0.05)
        return IngestReport(ingested=1)

    assert replace(run_of(board, Work()), ingest=work).run(job, "s") == "done"
    assert (board.status(job).state, board.status(job).ingested) == ("cancelled", 1)


def test_a_shard_that_kills_its_process_is_divided_and_the_culprit_found(
    board: JobBoard, job: str
) -> None:
    def kill(shard_id: str) -> None:
        for _ in range(MAX_CRASHES):
            assert board.shards.claim(job, shard_id)
            board.link.redis.delete(f"anymodal:job:{job}:lease")  # killed, and noticed

    kill("s")
    assert run_of(board, Work()).run(job, "s") == "divided"
    bad, good = sorted(board.shards.open(job))
    kill(bad)
    assert run_of(board, Work()).run(job, bad) == "set aside"
    assert run_of(board, Work()).run(job, good) == "done"
    view = board.status(job)
    assert (view.state, view.ingested, view.failed, view.n_files) == ("done", 1, 1, 2)
    assert [letter.error for letter in board.failures(job)] == ["CrashedError"]
