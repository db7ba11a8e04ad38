"""Ingest jobs: what one is at a moment, and what takes and follows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from search.types import IngestRequest


class FailedFile(Protocol):
    """A file that was set aside."""

    @property
    def uri(self) -> str:
        """The path or URL."""

    @property
    def error(self) -> str:
        """The name of the error's class."""

    @property
    def reason(self) -> str:
        """What is wrong, and what to do."""


@dataclass(frozen=True)
class Job:
    """An ingest at one moment. Times are seconds since 1970; with a broker, by its clock."""

    job_id: str
    state: str
    """``planning``, ``running``, ``done``, ``cancelling`` (shards under way are finished and
    counted), ``cancelled`` or ``failed`` (nobody can find the rest of its files)."""
    now: float
    created: float
    finished: float | None = None
    request: IngestRequest = field(default_factory=lambda: IngestRequest(()))
    n_files: int = 0
    ingested: int = 0
    unchanged: int = 0
    left_out: int = 0
    """Files of kinds that were not asked for."""
    failed: int = 0
    n_bytes: int = 0
    segments: Mapping[str, int] = field(default_factory=dict)
    stage_s: Mapping[str, float] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    """See `workers.pipeline.reports.IngestReport.gone`."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """What the model cannot find, and in how many files."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Of texts: ``encoded``, and ``kept`` to the last layer."""
    reason: str = ""
    """Why it failed."""
    waits_for: str = ""
    """Why the last shard was given back: a full disk."""
    open_shards: int = 0
    shards_at_work: int = 0
    planner: str = ""
    """Who finds the files; empty before one has begun."""
    planner_until: float = 0.0
    """Until when the planner is assumed to be alive."""
    declined: Mapping[str, str] = field(default_factory=dict)
    """The workers that cannot plan it, and why."""

    @property
    def n_done(self) -> int:
        """Files that were looked at."""
        return self.ingested + self.unchanged + self.left_out + self.failed

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ("done", "cancelled", "failed")

    @property
    def planner_lost(self) -> bool:
        """Whether the process that finds the files fell silent before it had finished."""
        return self.state == "planning" and self.now >= self.planner_until

    @property
    def seconds(self) -> float:
        """From the beginning to the end, or to now."""
        return max((self.finished or self.now) - self.created, 1e-3)

    @property
    def left_s(self) -> float | None:
        """Seconds left at the rate so far; None unless all files are found and some are done."""
        if self.state != "running" or not self.n_done:
            return None
        return self.seconds / self.n_done * max(self.n_files - self.n_done, 0)


class Jobs(Protocol):
    """Makes files searchable in the background. Methods may be called from any thread."""

    def submit(self, request: IngestRequest) -> str:
        """Start ingesting; return the job's id.

        Raises:
            InputError: there is no such kind.
        """

    def status(self, job_id: str) -> Job:
        """The state of a job.

        Raises:
            NotFoundError: there is no such job.
        """

    def failures(self, job_id: str) -> Iterable[FailedFile]:
        """The files of a job that were set aside, streamed."""

    def recent(self) -> Sequence[Job]:
        """The jobs that are known, newest first."""

    def cancel(self, job_id: str) -> bool:
        """Drop what has not begun; False if the job had ended. Raises NotFoundError."""

    def ping(self) -> None:
        """Return if jobs can be accepted; raise `AnymodalError` if not."""

    def close(self) -> None:
        """Begin nothing more in this process."""
