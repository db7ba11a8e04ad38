"""The API's jobs without a broker: this process does them, with its embedded worker."""

from __future__ import annotations

import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from encoder.errors import CorruptMediaError, DiskError, MediaLimitError, UnsupportedMediaError
from search.api.ports import JobStatus
from search.api.uploads import UploadFolder
from search.errors import NotFoundError
from search.store.base import VectorStore
from workers.config import current_settings
from workers.jobs.planning.dispatch import run_shards
from workers.jobs.queues import shards
from workers.jobs.status import MOST_FAILURES, asset_ids, refused
from workers.pipeline.ingest_job import in_chunks
from workers.pipeline.reports import IngestReport
from workers.serving import resources

logger = logging.getLogger(__name__)

_MOST_JOBS = 1000
_AT_ONCE = 2
_LOOKUP = 500
_FOR_GOOD = {kind.__name__ for kind in (UnsupportedMediaError, CorruptMediaError, MediaLimitError)}
"""Errors of a file that no second try would take."""


@dataclass
class _Job:
    job_id: str
    files: list[str]
    report: IngestReport = field(default_factory=IngestReport)
    stopped: Event = field(default_factory=Event)
    is_cancelled: bool = False
    started: float = field(default_factory=time.time)
    ended: float | None = None

    def status(self, uploads: UploadFolder, *, failures: bool) -> JobStatus:
        """A copy, taken while nothing is added."""
        report = self.report
        seconds = (self.ended or time.time()) - self.started
        n_left = len(self.files) - report.n_files
        known = bool(report.n_files) and not self.ended
        states = ("cancelling", "cancelled") if self.stopped.is_set() else ("running", "done")
        return JobStatus(
            self.job_id,
            states[bool(self.ended)],
            len(self.files),
            report.ingested,
            report.unchanged,
            len(report.failures),
            seconds,
            seconds / report.n_files * n_left if known else None,
            dict(report.segments),
            refused(report.failures[:MOST_FAILURES]) if failures else (),
            asset_ids(self.files, uploads),
        )


class LocalJobs:
    """Implements `search.api.ports.Jobs`. The embedded worker must run. Safe to use from threads.

    What it knows ends with the process. Files that wait by then are found again by `resume`; those
    that were refused or cancelled are removed, so that it does not find them.
    """

    def __init__(self, uploads: UploadFolder) -> None:
        self._uploads = uploads
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jobs")

    def submit(self, paths: Sequence[Path]) -> str:
        """Begin, or wait for the jobs before."""
        job = _Job(uuid.uuid4().hex[:12], [str(path) for path in paths])
        with self._lock:
            self._jobs[job.job_id] = job
            if len(self._jobs) > _MOST_JOBS:
                self._jobs.popitem(last=False)
        self._pool.submit(self._run, job)
        return job.job_id

    def resume(self, store: VectorStore) -> str | None:
        """Take up the uploads that an earlier process did not get to; the job's id, if any."""
        files = list(self._uploads.files())
        left: list[Path] = []
        for chunk in in_chunks(files, _LOOKUP):
            stored = store.assets([asset_id for asset_id, _ in chunk])
            left += [path for asset_id, path in chunk if asset_id not in stored]
        return self.submit(left) if left else None

    def status(self, job_id: str) -> JobStatus:
        """How a job stands. Raises NotFoundError."""
        with self._lock:
            return self._job(job_id).status(self._uploads, failures=True)

    def recent(self) -> Sequence[JobStatus]:
        """The last 100 jobs."""
        with self._lock:
            newest = list(reversed(self._jobs.values()))[:100]
            return [job.status(self._uploads, failures=False) for job in newest]

    def cancel(self, job_id: str) -> bool:
        """Drop what is not begun. Raises NotFoundError."""
        with self._lock:
            job = self._job(job_id)
            if job.ended or job.stopped.is_set():
                return False
            job.is_cancelled = True
            job.stopped.set()
            return True

    def ping(self) -> None:
        """There is nothing between this process and its worker."""

    def close(self) -> None:
        """Begin nothing more, and wait for what is under way."""
        with self._lock:
            for job in self._jobs.values():
                if not job.ended:
                    job.stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job: _Job) -> None:
        def add(report: IngestReport) -> None:
            with self._lock:
                job.report.add(report)

        groups = (paths for _, paths in shards(job.files, current_settings().shard_files))
        try:
            run_shards(groups, on_report=add, stopped=job.stopped.is_set)
            self._remove_unwanted(job)
        except DiskError as error:
            logger.error("job %s ends early: %s", job.job_id, error)
            self._fail_rest(job)
        finally:
            job.ended = time.time()

    def _fail_rest(self, job: _Job) -> None:
        """Report each upload that the disk had no room for; it is kept for the next start."""
        error = DiskError(
            "The server's disk takes no more.",
            remedy="The file is kept; it is ingested once the server starts with room again.",
        )
        told = {failure.uri for failure in job.report.failures}
        left = [file for file in job.files if file not in told]
        for chunk in in_chunks(left, _LOOKUP):
            stored = resources.shared_store().assets(asset_ids(chunk, self._uploads))
            with self._lock:
                for file in chunk:
                    if self._uploads.owner_of(file) not in stored:
                        job.report.fail(file, error)

    def _remove_unwanted(self, job: _Job) -> None:
        """Remove the uploads that were refused for good, or that a person has cancelled."""
        files = {x.uri for x in job.report.failures if x.error in _FOR_GOOD}
        if job.is_cancelled:
            files.update(job.files)
        with self._lock:
            others = [other for other in self._jobs.values() if other is not job]
            files.difference_update(*(other.files for other in others if not other.ended))
        for chunk in in_chunks(asset_ids(files, self._uploads), _LOOKUP):
            stored = resources.shared_store().assets(chunk)
            for asset_id in set(chunk) - set(stored):
                self._uploads.remove(asset_id)

    def _job(self, job_id: str) -> _Job:
        if job_id not in self._jobs:
            raise NotFoundError(f"There is no job {job_id!r}.", "See GET /v1/jobs.")
        return self._jobs[job_id]
