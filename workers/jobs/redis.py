"""The API's jobs on a broker: workers elsewhere do them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Event

from encoder.errors import InputError
from search.api.ports import JobStatus
from search.api.uploads import UploadFolder
from search.errors import NotFoundError
from workers.config import current_settings
from workers.jobs.board import JobBoard
from workers.jobs.job_types import JobView
from workers.jobs.planning.planner import plan
from workers.jobs.status import MOST_FAILURES, status_of

_MOST_JOBS = 100


class SharedJobs:
    """Implements `search.api.ports.Jobs` over a board. Safe to use from threads.

    Args:
        board: one that does not wait for a broker that is away.
        uploads: whose files the jobs are about.
    """

    def __init__(self, board: JobBoard, uploads: UploadFolder) -> None:
        self._board = board
        self._uploads = uploads
        self._planners = ThreadPoolExecutor(4, thread_name_prefix="planner")
        self._closing = Event()

    def submit(self, paths: Sequence[Path]) -> str:
        """Put a job on the board and feed its shards to the queues."""
        files = [str(path) for path in paths]
        job_id = self._board.create(files, priority="interactive")
        self._planners.submit(self._plan, job_id, files)
        return job_id

    def status(self, job_id: str) -> JobStatus:
        """How a job stands. Raises NotFoundError."""
        letters = islice(self._board.dead_letters(job_id), MOST_FAILURES)
        return status_of(self._view(job_id), self._uploads, list(letters))

    def recent(self) -> Sequence[JobStatus]:
        """The last 100 jobs."""
        return [status_of(view, self._uploads) for view in self._board.jobs()[:_MOST_JOBS]]

    def cancel(self, job_id: str) -> bool:
        """Drop what is not begun. Raises NotFoundError."""
        self._view(job_id)
        return self._board.cancel(job_id)

    def ping(self) -> None:
        """Raises BrokerError where the broker does not answer."""
        self._board.ping()

    def close(self) -> None:
        """Stop the planners; workers go on with what they leave."""
        self._closing.set()
        self._planners.shutdown(cancel_futures=True)

    def _view(self, job_id: str) -> JobView:
        try:
            return self._board.view(job_id)
        except InputError:
            raise NotFoundError(f"There is no job {job_id!r}.", "See GET /v1/jobs.") from None

    def _plan(self, job_id: str, files: Sequence[str]) -> None:
        from workers.jobs.messages import publish, shared_board

        settings = current_settings()
        plan(
            shared_board(),
            job_id,
            files,
            publish,
            shard_files=settings.shard_files,
            queue_shards=settings.queue_shards,
            stopped=self._closing.is_set,
        )
