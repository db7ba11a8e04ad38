"""Run one shard of a job: claim it, keep the lease, count it once."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TypeAlias

from billiard.exceptions import SoftTimeLimitExceeded

from encoder.errors import AnymodalError, DiskError
from search.errors import StoreError
from search.types import IngestRequest, Prune
from workers.jobs.board import JobBoard
from workers.jobs.leases import repeating
from workers.jobs.shard import Claim, Shard
from workers.observe import metrics
from workers.pipeline import retry
from workers.pipeline.reports import IngestReport

logger = logging.getLogger(__name__)

_BEATS_PER_LEASE = 4
_OTHERS_S = 2.0
_OTHERS_POLL_S = 0.1


_stop = mmap.mmap(-1, 1)  # anonymous and shared: what the parent writes, forked children read


def announce_stop() -> None:
    """Signal the children that the main process was asked to end."""
    _stop[0] = 1


def stop_announced() -> bool:
    return _stop[0] == 1


class TooLongError(AnymodalError):
    """A shard took longer than a task may."""


class CrashedError(AnymodalError):
    """A file crashed the process that worked on it, again and again."""


Begun: TypeAlias = Callable[[Sequence[str]], set[str]]
Forget: TypeAlias = Callable[[Sequence[str], Prune], IngestReport]
GoOn: TypeAlias = Callable[[], bool]
Ingest: TypeAlias = Callable[[IngestRequest, Begun, GoOn], IngestReport]


@dataclass(frozen=True)
class ShardRun:
    """One delivery of one shard.

    Args:
        ingest: `IngestPipeline.ingest`, with callbacks for ids of new contents, and for whether to
            go on (until the job is cancelled).
        limit_s: how long a task may take; Celery ends it a little earlier by an exception.
        shutdown_s: how long a shard may go on once the worker is to stop.
        forget: forgets files that are gone from folders, and removes those assets that were named.
    """

    board: JobBoard
    ingest: Ingest
    reopen: Callable[[], None]
    publish: Callable[[str, str, Shard], None]
    limit_s: float
    shutdown_s: float
    forget: Forget = lambda _folders, _prune: IngestReport()

    def run(self, job_id: str, shard_id: str) -> str:
        """Run the shard, or leave it; return the outcome in a word.

        At most one worker holds a shard: a second delivery finds the lease and leaves.
        """
        claim = self.board.shards.claim(job_id, shard_id)
        if claim is None:
            return "left"
        if claim.taken_over:
            metrics.LOST.inc()
        if claim.crashes >= retry.MAX_CRASHES:
            crashed = CrashedError(
                f"The process working on it died {claim.crashes} times.",
                remedy="It may need too much memory or crash a decoder; ingest it alone.",
            )
            return self._divide(job_id, shard_id, claim.shard, crashed)
        unwanted = Event()
        beat = self._beat(job_id, shard_id, unwanted)
        beating = repeating(beat, self.board.lease_s / _BEATS_PER_LEASE)
        with beating, metrics.SHARD_S.labels(claim.shard.cost).time():
            try:
                if claim.shard.folders and not self._others_are_done(job_id, shard_id):
                    self.board.shards.release(job_id, shard_id, _OTHERS_S, forgive=True)
                    return "waits"
                return self._try(job_id, shard_id, claim, lambda: not unwanted.is_set())
            except SoftTimeLimitExceeded:
                return self._out_of_time(job_id, shard_id, claim)

    def _out_of_time(self, job_id: str, shard_id: str, claim: Claim) -> str:
        """Divide a shard that took too long: smaller ones may be quick enough."""
        if claim.shard.folders and claim.failures < retry.MAX_RETRIES:  # no file is at fault
            self.board.shards.release(job_id, shard_id, _OTHERS_S)
            return "waits"
        error = TooLongError(
            f"The task took longer than {self.limit_s:.0f} s.",
            remedy="Raise ANYMODAL_TASK_TIMEOUT_S for the workers and retry the job.",
        )
        return self._divide(job_id, shard_id, claim.shard, error)

    def _try(self, job_id: str, shard_id: str, claim: Claim, go_on: GoOn) -> str:
        shard, begun = claim.shard, partial(self.board.shards.begun, job_id, shard_id)
        deadline = time.monotonic() + self.limit_s / 2

        def pause(again: retry.Again, error: Exception, _attempt: int) -> bool:
            logger.warning("shard %s of job %s is waiting: %s", shard_id, job_id, error)
            if isinstance(error, DiskError) or not again.forgiven:  # another worker may have room
                return False
            return time.monotonic() + again.delay_s < deadline and self._pause(again.delay_s)

        try:
            counted = retry.tried(
                lambda: self._finish(job_id, shard_id, self._report(shard, begun, go_on)),
                len(shard.paths),
                pause,
                failures=claim.failures,
                passed_on=(SoftTimeLimitExceeded,),
            )
        except retry.FailedError as failed:
            error, verdict = failed.error, failed.verdict
            if isinstance(verdict, retry.GiveUp):
                return self._set_aside(job_id, shard_id, shard, error)
            if isinstance(verdict, retry.Divide):
                return self._divide(job_id, shard_id, shard, error)
            why = str(error) if isinstance(error, DiskError) else ""
            self.board.shards.release(
                job_id, shard_id, verdict.delay_s, forgive=verdict.forgiven, why=why
            )
            return "waits"
        return "done" if counted else "left"

    def _report(self, shard: Shard, begun: Begun, go_on: GoOn) -> IngestReport:
        if shard.folders:
            return self.forget(shard.folders, shard.request.prune)
        return self.ingest(shard.request, begun, go_on)

    def _others_are_done(self, job_id: str, shard_id: str) -> bool:
        """Whether this is the job's last shard; waits a while for those that others hold."""
        deadline = time.monotonic() + _OTHERS_S
        while other_shards := self.board.shards.open(job_id).keys() - {shard_id}:
            is_waiting = bool(other_shards - self.board.shards.leased(job_id))
            if is_waiting or time.monotonic() > deadline or stop_announced():
                return False
            time.sleep(_OTHERS_POLL_S)
        return True

    def _pause(self, delay_s: float) -> bool:
        """Wait for the store and keep the shard, so that no other is taken up meanwhile."""
        _sleep(delay_s)
        if not stop_announced():
            with suppress(StoreError, DiskError):  # the next try reports it
                self.reopen()
        return not stop_announced()

    def _divide(self, job_id: str, shard_id: str, shard: Shard, error: Exception) -> str:
        """Find the file that is at fault: try files one by one, and set a single one aside."""
        if len(shard.paths) <= 1:
            return self._set_aside(job_id, shard_id, shard, error)
        parts = {
            f"{shard_id}.{number}": shard.of([path]) for number, path in enumerate(shard.paths)
        }
        self.board.shards.finish(job_id, shard_id, IngestReport(), parts)
        for part_id, single in parts.items():
            self.publish(job_id, part_id, single)
        return "divided"

    def _set_aside(self, job_id: str, shard_id: str, shard: Shard, error: Exception) -> str:
        report = IngestReport()
        report.fail_all(shard.folders or shard.paths, error)
        self._finish(job_id, shard_id, report)
        return "set aside"

    def _finish(self, job_id: str, shard_id: str, report: IngestReport) -> bool:
        counted = self.board.shards.finish(job_id, shard_id, report)
        if counted:
            report.count()
        return counted

    def _beat(self, job_id: str, shard_id: str, unwanted: Event) -> Callable[[], None]:
        stop_at: float | None = None

        def beat() -> None:
            nonlocal stop_at
            if stop_announced():
                stop_at = stop_at or time.monotonic() + self.shutdown_s
                if time.monotonic() > stop_at:
                    self._leave(job_id, shard_id)
            if not self.board.shards.beat(job_id, shard_id):
                unwanted.set()

        return beat

    def _leave(self, job_id: str, shard_id: str) -> None:
        """Give the shard back and end this process at once."""
        try:
            self.board.shards.release(job_id, shard_id, 0.0, forgive=True)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


def _sleep(seconds: float) -> None:
    """Sleep until the time is over or the worker is to stop."""
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0 and not stop_announced():
        time.sleep(min(left_s, 0.2))
