"""Jobs without a broker: they end as those on a broker do."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest

from encoder import MultiModalEncoder
from encoder.errors import DiskError
from search.api.ports import Job
from search.api.uploads import UploadFolder
from search.errors import StoreUnavailableError
from search.store.memory import MemoryStore
from search.types import IngestRequest
from tests.support.waiting import wait_for
from workers.jobs import local
from workers.jobs.local import LocalJobs
from workers.pipeline import IngestPipeline
from workers.pipeline.ingest_pipeline import retry


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


@pytest.mark.slow
def test_large_texts_hold_up_no_later_job_and_can_be_cancelled(
    jobs: LocalJobs, tmp_path: Path
) -> None:
    def story(name: str) -> list[str]:
        parts = (f"Part {n} of the story of {name}. " * 20 for n in range(3000))
        return note(tmp_path / name, "\n\n".join(parts))

    large = [jobs.submit(IngestRequest(story(name))) for name in ("a.txt", "b.txt")]
    wait_for(lambda: len(threads_of("ingest")) >= 2)
    later = [
        jobs.submit(IngestRequest(note(tmp_path / f"{n}.txt", f"Note {n}."))) for n in range(8)
    ]
    for job_id in later:
        assert ended(jobs, job_id).ingested == 1
    assert [jobs.status(job_id).state for job_id in large] == ["running"] * 2
    for job_id in large:
        assert jobs.cancel(job_id)
    began = monotonic()
    assert [ended(jobs, job_id).state for job_id in large] == ["cancelled"] * 2
    assert monotonic() - began < 30


def threads_of(name: str) -> Sequence[str]:
    from threading import enumerate as threads

    return [thread.name for thread in threads() if thread.name.startswith(name)]
