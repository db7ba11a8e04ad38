"""Find a job's files and feed its shards to the queues, no faster than they are worked off."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from encoder.system import children
from ingest.errors import EmptiedFolderError, RefusedLinkError
from workers.environment import child_environment
from workers.jobs.board import JobBoard
from workers.jobs.broker import BrokerError
from workers.jobs.job_types import Shard
from workers.jobs.planning.feed import Feed, Publish
from workers.jobs.planning.walked_folders import WalkedFolders
from workers.jobs.queues import CLASSES, PRIORITIES, cost_class, shards
from workers.jobs.recovery.heartbeat import repeating
from workers.observe import tracing

if TYPE_CHECKING:
    from ingest.sources.folders import OnRefused

_FULL_PAUSE_S = 0.2
_HELD_BACK_FILES = 10_000
"""Of one class: a few megabytes of names."""
_RETRY_FILES = 16
_NOT_SENT = {kind.__name__ for kind in (RefusedLinkError, EmptiedFolderError)}


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
    """Open and send a shard after another; the list of files is never held.

    Where a planner before was broken off, this one goes on. Does nothing if another one is at it,
    and ends early when one has taken the job over: this process was stopped for a while.

    While ``queue_shards`` messages wait in a queue, nothing more is sent to it: what is found for
    it meanwhile is held back, and the other queues go on. Once ``_HELD_BACK_FILES`` of a class
    are held back, no more files are looked for. Ends early when the job is cancelled; or when
    ``stopped`` says so, and the rest is for another planner.

    The last shard, once all others are done, forgets what is gone from the folders that ``walked``
    says were read to the end.
    """
    planner = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    if not board.begin_planning(job_id, planner):
        return
    keep_lease = repeating(lambda: board.planning(job_id, planner), board.lease_s / 4)
    with tracing.span("job", job_id=job_id), keep_lease:
        try:
            _plan(
                board, job_id, planner, files, publish, shard_files, queue_shards, stopped, walked
            )
        except BrokerError:  # it is away for longer than anyone waits
            raise
        except Exception as error:
            board.fail_planning(job_id, planner, f"Its files cannot be found: {error}")
            raise
        board.leave_planning(job_id, planner)  # unless all is planned


def _plan(
    board: JobBoard,
    job_id: str,
    planner: str,
    files: Iterable[str],
    publish: Publish,
    shard_files: int,
    queue_shards: int,
    stopped: Callable[[], bool],
    walked: WalkedFolders | None,
) -> None:
    job = board.view(job_id)
    run = uuid.uuid4().hex[:4]  # a second plan of the same job names its shards differently
    feed = Feed(
        board, job_id, planner, publish, queue_shards=queue_shards, most_files=_HELD_BACK_FILES
    )

    def wanted() -> bool:
        return not stopped() and board.planning(job_id, planner)

    left = beyond(files, board.cursors(job_id), lambda: files_of_job(board, job_id, walked))
    cost = CLASSES[0]
    for number, (cost, paths) in enumerate(shards(left, shard_files)):
        shard = Shard(cost, paths, PRIORITIES[job.priority], job.labels, tracing.carrier())
        feed.add(f"{run}-{number}", shard)
        if stopped() or not _send(feed, lambda: not feed.is_full, wanted):
            return
    if _send(feed, lambda: feed.is_empty, wanted):
        folders = walked.complete() if walked else []
        trace = tracing.carrier()
        shard = Shard(cost, [], PRIORITIES[job.priority], {}, trace, folders, job.prune)
        last = {f"{run}-gone": shard} if folders else {}
        if board.planned(job_id, planner, last) and last:
            publish(job_id, f"{run}-gone", shard)


def _send(feed: Feed, enough: Callable[[], bool], wanted: Callable[[], bool]) -> bool:
    """Send until ``enough`` is sent; False if no more is wanted."""
    while feed.send():
        if enough():
            return True
        time.sleep(_FULL_PAUSE_S)
        if not wanted():
            break
    return False


def beyond(
    files: Iterable[str], cursors: Mapping[str, str], again: Callable[[], Iterable[str]]
) -> Iterator[str]:
    """The files that a planner before did not get to.

    Each cost class is added in the order in which its files are found, so what comes after the
    last that was added is left. If that one is gone, nobody knows: its class is planned from its
    beginning, and what is stored counts as unchanged.

    Args:
        files: all files.
        cursors: the last file of each class that was added.
        again: finds the files again.
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

    A link that was refused stays one: sent by its name, it would be followed. So does a folder that
    is empty: it is not a file.
    """
    job = board.view(job_id)
    run = uuid.uuid4().hex[:4]
    letters = [letter.uri for letter in board.dead_letters(job_id) if letter.error not in _NOT_SENT]
    with tracing.span("retry", job_id=job_id):
        for number, (cost, paths) in enumerate(shards(letters, _RETRY_FILES)):
            shard_id = f"retry-{run}-{number}"
            shard = Shard(cost, paths, PRIORITIES[job.priority], job.labels, tracing.carrier())
            board.revive(job_id, shard_id, shard, paths)
            publish(job_id, shard_id, shard)
    return len(letters)


def files_of(
    paths: Sequence[str], on_refused: OnRefused, walked: WalkedFolders | None = None
) -> Iterable[str]:
    """All files under these paths, streamed; URLs, which lie under nothing, come first.

    Args:
        paths: files, folders and URLs.
        on_refused: called for refused links.
        walked: collects folders that cannot be read.
    """
    from ingest import discover
    from ingest.sources.remote import is_url

    local = [path for path in paths if not is_url(path)]
    found = discover(local, on_refused, walked.unread) if walked else discover(local, on_refused)
    return chain(filter(is_url, paths), map(str, found))


def files_of_job(
    board: JobBoard, job_id: str, walked: WalkedFolders | None = None
) -> Iterable[str]:
    """The files of a job; links that are refused become dead letters."""
    paths = board.view(job_id).paths
    return files_of(paths, lambda refused: board.refuse(job_id, refused), walked)


def start_planner(job_id: str) -> subprocess.Popen[bytes]:
    """Plan a job in a process of its own, which outlives this one."""
    return subprocess.Popen(
        children.python("workers.jobs.planning.planner", job_id),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(job_id: str) -> None:
    """Plan a job that is on the board."""
    from workers.config import current_settings
    from workers.jobs.messages import publish, shared_board

    tracing.start()
    settings = current_settings()
    board = shared_board()
    walked = WalkedFolders(board.view(job_id).paths)
    plan(
        board,
        job_id,
        files_of_job(board, job_id, walked),
        publish,
        shard_files=settings.shard_files,
        queue_shards=settings.queue_shards,
        walked=walked,
    )


if __name__ == "__main__":
    main(*islice(sys.argv, 1, 2))
