"""Jobs without a broker: this process does them, with its pipeline."""

from __future__ import annotations

import logging
import time
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock

from encoder.errors import (
    AnymodalError,
    CorruptMediaError,
    MediaLimitError,
    UnsupportedMediaError,
)
from encoder.system.batched import in_batches
from ingest.kinds.registry import check_names
from ingest.types import Failure
from search.errors import NotFoundError, OutsideError
from search.jobs import Job
from search.store.locks import exclusive
from search.types import IngestRequest
from search.uploads import Keeper, UploadFolder
from workers.pipeline.files import count_files
from workers.pipeline.ingest_pipeline import IngestPipeline
from workers.pipeline.reports import IngestReport

logger = logging.getLogger(__name__)

_MOST_JOBS = 1000
_AT_ONCE = 8
"""Jobs take turns batch by batch; each costs the memory of its decoders."""
_LOOKUP = 500
_FOR_GOOD = {
    error_class.__name__
    for error_class in (UnsupportedMediaError, CorruptMediaError, MediaLimitError, OutsideError)
}
"""Errors of a file for which a second try does not help."""


@dataclass
class _Run:
    """A job in progress. Only `LocalJobs` changes it, under its lock."""

    job_id: str
    request: IngestRequest
    n_files: int
    report: IngestReport = field(default_factory=IngestReport)
    stopped: Event = field(default_factory=Event)
    is_cancelled: bool = False
    waits_for: str = ""
    reason: str = ""
    created: float = field(default_factory=time.time)
    finished: float | None = None

    def job(self) -> Job:
        report = self.report
        states = ("cancelling", "cancelled") if self.stopped.is_set() else ("running", "done")
        return Job(
            self.job_id,
            "failed" if self.reason and not self.stopped.is_set() else states[bool(self.finished)],
            time.time(),
            self.created,
            self.finished,
            self.request,
            n_files=max(self.n_files, report.n_files),  # object stores are listed meanwhile
            ingested=report.ingested,
            unchanged=report.unchanged,
            left_out=report.left_out,
            failed=len(report.failures),
            n_bytes=report.n_bytes,
            segments=dict(report.segments),
            stage_s=dict(report.stage_s),
            gone=dict(report.gone),
            limits=dict(report.limits),
            tokens=dict(report.tokens),
            reason=self.reason,
            waits_for=self.waits_for,
        )


class LocalJobs:
    """Implements `search.jobs.Jobs` with a pipeline. Safe to use from threads.

    Jobs are forgotten with the process. `resume` finds the uploads that were still waiting; those
    that were refused or cancelled are removed, so that it does not find them.
    """

    def __init__(self, pipeline: IngestPipeline, uploads: UploadFolder) -> None:
        self._pipeline = pipeline
        self._uploads = uploads
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="jobs")

    def submit(self, request: IngestRequest) -> str:
        """Begin, or wait for earlier jobs, whatever the priority.

        Raises:
            InputError: there is no such kind.
        """
        check_names(request.kinds)
        run = _Run(uuid.uuid4().hex[:12], request, count_files(request.paths) or 0)
        with self._lock:
            self._runs[run.job_id] = run
            ended = [job_id for job_id, old in self._runs.items() if old.finished]
            for job_id in ended[: max(0, len(self._runs) - _MOST_JOBS)]:
                del self._runs[job_id]
        self._pool.submit(self._run, run)
        return run.job_id

    def resume(self) -> list[str]:
        """Take up the uploads that an earlier process did not get to, each within its key's filter.

        Returns:
            The ids of the jobs, one for each key with a filter, and one for all others.
        """
        waiting = defaultdict[str, list[str]](list)
        keepers = dict[str, Keeper]()
        for chunk in in_batches(self._uploads.files(), _LOOKUP):
            _, store = self._pipeline.parts()
            stored = store.assets([asset_id for asset_id, _ in chunk])
            for asset_id, path in chunk:
                if asset_id not in stored:
                    keeper = self._uploads.keeper_of(asset_id)
                    keepers[repr(keeper)] = keeper
                    waiting[repr(keeper)].append(str(path))
        return [
            self.submit(IngestRequest(paths, key=keepers[name].key, within=keepers[name].within))
            for name, paths in waiting.items()
        ]

    def status(self, job_id: str) -> Job:
        """The state of a job. Raises NotFoundError."""
        with self._lock:
            return self._find(job_id).job()

    def failures(self, job_id: str) -> Sequence[Failure]:
        """The files of a job that were set aside. Raises NotFoundError."""
        with self._lock:
            return list(self._find(job_id).report.failures)

    def recent(self) -> Sequence[Job]:
        """The last 1,000 jobs and all that have not ended, newest first."""
        with self._lock:
            return [run.job() for run in reversed(self._runs.values())]

    def cancel(self, job_id: str) -> bool:
        """Drop what has not begun; False if the job had ended. Raises NotFoundError."""
        with self._lock:
            run = self._find(job_id)
            if run.finished or run.stopped.is_set():
                return False
            run.is_cancelled = True
            run.stopped.set()
            return True

    def ping(self) -> None:
        """Do nothing: there is no broker between this process and its pipeline."""

    def close(self) -> None:
        """Begin nothing more, and wait for shards under way."""
        with self._lock:
            for run in self._runs.values():
                if not run.finished:
                    run.stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, run: _Run) -> None:
        def add(report: IngestReport) -> None:
            report.count()
            with self._lock:
                run.report.add(report)
                run.waits_for = ""

        def wait(error: Exception) -> bool:
            run.waits_for = str(error)
            return True

        try:
            self._pipeline.fulfil(
                run.request, on_report=add, on_wait=wait, stopped=run.stopped.is_set
            )
            self._remove_unwanted(run)
        except Exception as error:  # such as a library for its sources that is not installed
            is_known = isinstance(error, AnymodalError)
            logger.error("job %s ended early: %s", run.job_id, error, exc_info=not is_known)
            with self._lock:
                run.reason = str(error) or type(error).__name__
                if not run.report.n_files:  # else some of them were ingested
                    run.report.fail_all(run.request.paths, error)
        finally:
            run.finished = time.time()

    def _remove_unwanted(self, run: _Run) -> None:
        """Remove the uploads that were refused for good, or that a user has cancelled."""
        files = {x.uri for x in run.report.failures if x.error in _FOR_GOOD}
        if run.is_cancelled:
            files.update(run.request.paths)
        _, store = self._pipeline.parts()
        for chunk in in_batches(self._uploads.owners_of(files), _LOOKUP):
            with exclusive(store, chunk), self._lock:
                runs_beside = [
                    other
                    for other in self._runs.values()
                    if other is not run and not other.finished
                ]
                needed_files = {path for other in runs_beside for path in other.request.paths}
                needed = {*store.assets(chunk), *self._uploads.owners_of(needed_files)}
                for asset_id in set(chunk) - needed:
                    self._uploads.remove(asset_id)

    def _find(self, job_id: str) -> _Run:
        if job_id not in self._runs:
            raise NotFoundError(f"There is no job {job_id!r}.", "See GET /v1/jobs.")
        return self._runs[job_id]
