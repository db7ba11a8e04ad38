"""Find a job's files and feed its shards to the queues, no faster than they are processed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import IO

from encoder.system import children
from ingest.errors import EmptiedFolderError, IgnoreFileError, ListingError, RefusedLinkError
from search.jobs import Job
from workers.config import Settings, current_settings
from workers.jobs.board import JobBoard
from workers.jobs.broker import publish
from workers.jobs.leases import repeating
from workers.jobs.redis_link import BrokerError
from workers.jobs.shard import PRIORITIES, Shard, queue_name
from workers.observe import tracing
from workers.pipeline.files import CLASSES, WalkedFolders, cost_class, files_of, shards

_FULL_PAUSE_S = 0.2
_RETRY_FILES = 16
_NOT_SENT = {
    error_class.__name__
    for error_class in (RefusedLinkError, EmptiedFolderError, IgnoreFileError, ListingError)
}


Publish = Callable[[str, str, Shard], None]

_HELD_BACK_FILES = 10_000
"""The most files of one class that are held back: a few megabytes of names."""


@dataclass
class Feed:
    """The shards of one job that were found but not sent yet, in order per cost class."""

    board: JobBoard
    """Where shards are opened."""
    job_id: str
    planner: str
    """Who plans the job."""
    publish: Publish
    """Sends a shard's message."""
    queue_shards: int
    """How many messages may wait in a queue."""
    _waiting: dict[str, deque[tuple[str, Shard]]] = field(
        default_factory=lambda: {cost: deque() for cost in CLASSES}
    )
    _n_files: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    @property
    def is_empty(self) -> bool:
        return not any(self._waiting.values())

    @property
    def is_full(self) -> bool:
        """Whether so many files of one class wait that no more should be looked for."""
        return any(n >= _HELD_BACK_FILES for n in self._n_files.values())

    def add(self, shard_id: str, shard: Shard) -> None:
        self._waiting[shard.cost].append((shard_id, shard))
        self._n_files[shard.cost] += len(shard.paths)

    def send(self) -> bool:
        """Send what fits into the queues; False once the job takes no more from this planner."""
        return all(self._send(cost) for cost, waiting in self._waiting.items() if waiting)

    def _send(self, cost: str) -> bool:
        waiting = self._waiting[cost]
        room = self.queue_shards - self.board.depth([queue_name(cost)], PRIORITIES.values())
        for shard_id, shard in [waiting.popleft() for _ in range(min(room, len(waiting)))]:
            if not self.board.shards.add(self.job_id, shard_id, shard, self.planner):
                return False
            self._n_files[cost] -= len(shard.paths)
            self.publish(self.job_id, shard_id, shard)
        return True


def plan(
    board: JobBoard,
    job_id: str,
    files: Iterable[str],
    publish: Publish,
    *,
    shard_files: int,
    queue_shards: int,
    stopped: Callable[[], bool] = lambda: False,
    walked: WalkedFolders | None = None,
) -> None:
    """Open and send one shard after another. The list of files is never held in memory.

    Continues where an earlier planner stopped. Does nothing if another planner holds the job, and
    ends early if one takes it over, as can happen while this process is suspended.

    While ``queue_shards`` messages wait in a queue, nothing more is sent to it: files for it are
    held back, and the other queues go on. Once 10,000 of a class are held back, no more
    files are looked for. Ends early when the job is cancelled, or when ``stopped`` returns
    true; then another planner does the rest.

    The last shard runs once all others are done. It forgets stored files that are gone from the
    folders that were read to the end according to ``walked``.
    """
    planner = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if not board.planners.begin(job_id, planner):
        return
    feed = Feed(board, job_id, planner, publish, queue_shards)
    keep_lease = repeating(lambda: board.planners.renew(job_id, planner), board.lease_s / 4)
    with tracing.span("job", job_id=job_id), keep_lease:
        try:
            _plan(feed, files, shard_files, stopped, walked)
        except BrokerError:  # no answer for longer than the board's patience
            raise
        except Exception as error:
            board.planners.fail(job_id, planner, f"Its files cannot be found: {error}")
            raise
        board.planners.leave(job_id, planner)  # unless all is planned


def _plan(
    feed: Feed,
    files: Iterable[str],
    shard_files: int,
    stopped: Callable[[], bool],
    walked: WalkedFolders | None,
) -> None:
    board, job_id, planner = feed.board, feed.job_id, feed.planner
    job = board.status(job_id)
    run = uuid.uuid4().hex[:4]  # a second plan of the same job names its shards differently

    def wanted() -> bool:
        return not stopped() and board.planners.renew(job_id, planner)

    unplanned = beyond(
        files, board.planners.cursors(job_id), lambda: files_of_job(board, job_id, walked)
    )
    cost = CLASSES[0]
    for number, (cost, paths) in enumerate(shards(unplanned, shard_files)):
        shard = _shard(job, cost, paths)
        feed.add(f"{run}-{number}", shard)
        if stopped() or not _send(feed, lambda: not feed.is_full, wanted):
            return
    if _send(feed, lambda: feed.is_empty, wanted):
        folders = walked.complete() if walked and job.request.within is None else []
        shard = replace(_shard(job, cost, []), folders=folders)
        last = {f"{run}-gone": shard} if folders else {}
        if board.planners.finish(job_id, planner, last) and last:
            feed.publish(job_id, f"{run}-gone", shard)


def _shard(job: Job, cost: str, paths: Sequence[str]) -> Shard:
    return Shard(cost, replace(job.request, paths=paths), tracing.carrier())


def _send(feed: Feed, enough: Callable[[], bool], is_wanted: Callable[[], bool]) -> bool:
    """Send until ``enough`` returns true; False if the job takes no more from this planner."""
    while feed.send():
        if enough():
            return True
        time.sleep(_FULL_PAUSE_S)
        if not is_wanted():
            break
    return False


def beyond(
    files: Iterable[str], cursors: Mapping[str, str], again: Callable[[], Iterable[str]]
) -> Iterator[str]:
    """The files that an earlier planner did not reach.

    Each cost class is added in the order in which its files are found, so the files after the last
    one that was added are left. If that file is gone, its class is planned from the beginning, and
    what is stored counts as unchanged.
    """
    sought = dict(cursors)
    for path in files:
        cost = cost_class(path)
        if cost not in sought:
            yield path
        elif path == sought[cost]:
            del sought[cost]
    if sought:
        yield from (path for path in again() if cost_class(path) in sought)


def replay(board: JobBoard, job_id: str, publish: Publish) -> int:
    """Send the dead letters of a job again; how many.

    Refused links are not sent: named as files, they would be followed. Nor are folders that are
    empty or cannot be listed.
    """
    job = board.status(job_id)
    run = uuid.uuid4().hex[:4]
    letters = [letter.uri for letter in board.failures(job_id) if letter.error not in _NOT_SENT]
    with tracing.span("retry", job_id=job_id):
        for number, (cost, paths) in enumerate(shards(letters, _RETRY_FILES)):
            shard_id = f"retry-{run}-{number}"
            shard = _shard(job, cost, paths)
            board.shards.revive(job_id, shard_id, shard, paths)
            publish(job_id, shard_id, shard)
    return len(letters)


def files_of_job(
    board: JobBoard, job_id: str, walked: WalkedFolders | None = None
) -> Iterable[str]:
    """The files of a job; links that are refused become dead letters."""
    paths = board.status(job_id).request.paths
    return files_of(paths, lambda refused: board.refuse(job_id, refused), walked)


def start_planner(
    job_id: str, stderr: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Plan a job in a separate process, which outlives this one; if it fails, a worker plans it.

    Args:
        job_id: of a job on the board.
        stderr: where the process says why it fails.
    """
    return subprocess.Popen(
        children.python("workers.jobs.planner", job_id),
        env=children.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
    )


def plan_paths(
    board: JobBoard, job_id: str, settings: Settings, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Find the files of a job that is on the board, and feed its shards to the queues."""
    walked = WalkedFolders(board.status(job_id).request.paths, settings.ingest)
    plan(
        board,
        job_id,
        files_of_job(board, job_id, walked),
        publish,
        shard_files=settings.shard_files,
        queue_shards=settings.queue_shards,
        stopped=stopped,
        walked=walked,
    )


def main(job_id: str) -> None:
    tracing.start()
    settings = current_settings()
    plan_paths(JobBoard.of(settings), job_id, settings)


if __name__ == "__main__":
    main(*islice(sys.argv, 1, 2))
