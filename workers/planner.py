"""Find a job's files and feed its shards to the queues, no faster than they are worked off."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from encoder import children
from ingest.errors import RefusedLinkError
from workers import tracing
from workers.board import JobBoard
from workers.feed import Feed, Publish
from workers.job_types import Shard
from workers.queues import PRIORITIES, shards

if TYPE_CHECKING:
    from ingest.discover import OnRefused

_FULL_PAUSE_S = 0.2
_HELD_BACK_FILES = 10_000
"""Of one class: a few megabytes of names."""
_RETRY_FILES = 16


def plan(
    board: JobBoard,
    job_id: str,
    files: Iterable[str],
    publish: Publish,
    *,
    shard_files: int,
    queue_shards: int,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Open and send a shard after another; the list of files is never held.

    While ``queue_shards`` messages wait in a queue, nothing more is sent to it: what is found for
    it meanwhile is held back, and the other queues go on. Once ``_HELD_BACK_FILES`` of a class
    are held back, no more files are looked for. Ends early when the job is cancelled or
    ``stopped`` says so.
    """
    with tracing.span("job", job_id=job_id):
        _plan(board, job_id, files, publish, shard_files, queue_shards, stopped)


def _plan(
    board: JobBoard,
    job_id: str,
    files: Iterable[str],
    publish: Publish,
    shard_files: int,
    queue_shards: int,
    stopped: Callable[[], bool],
) -> None:
    job = board.view(job_id)
    run = uuid.uuid4().hex[:4]  # a second plan of the same job names its shards differently
    feed = Feed(board, job_id, publish, queue_shards=queue_shards, most_files=_HELD_BACK_FILES)
    for number, (cost, paths) in enumerate(shards(files, shard_files)):
        shard = Shard(cost, paths, PRIORITIES[job.priority], job.labels, tracing.carrier())
        feed.add(f"{run}-{number}", shard)
        if not _send(board, job_id, feed, lambda: not feed.is_full, stopped):
            return
    if _send(board, job_id, feed, lambda: feed.is_empty, stopped):
        board.planned(job_id)


def _send(
    board: JobBoard,
    job_id: str,
    feed: Feed,
    enough: Callable[[], bool],
    stopped: Callable[[], bool],
) -> bool:
    """Send until ``enough`` is sent; False if the job wants no more or is stopped."""
    while not stopped() and feed.send():
        if enough():
            return True
        board.planning(job_id)
        time.sleep(_FULL_PAUSE_S)
    return False


def replay(board: JobBoard, job_id: str, publish: Publish) -> int:
    """Send the dead letters of a job again; how many.

    A link that led out of a folder stays one: sent by its name, it would be followed.
    """
    job = board.view(job_id)
    run = uuid.uuid4().hex[:4]
    letters = [
        letter.uri
        for letter in board.dead_letters(job_id)
        if letter.error != RefusedLinkError.__name__
    ]
    with tracing.span("retry", job_id=job_id):
        for number, (cost, paths) in enumerate(shards(letters, _RETRY_FILES)):
            shard_id = f"retry-{run}-{number}"
            shard = Shard(cost, paths, PRIORITIES[job.priority], job.labels, tracing.carrier())
            board.revive(job_id, shard_id, shard, paths)
            publish(job_id, shard_id, shard)
    return len(letters)


def files_of(paths: Sequence[str], on_refused: OnRefused) -> Iterable[str]:
    """All files under these paths, streamed; URLs, which lie under nothing, come first.

    Args:
        paths: files, folders and URLs.
        on_refused: told of links that lead out of a folder.
    """
    from ingest import discover
    from ingest.remote import is_url

    local = [path for path in paths if not is_url(path)]
    return chain(filter(is_url, paths), map(str, discover(local, on_refused)))


def files_of_job(board: JobBoard, job_id: str) -> Iterable[str]:
    """The files of a job; links that lead out of its folders become dead letters."""
    return files_of(board.view(job_id).paths, lambda refused: board.refuse(job_id, refused))


def start_planner(job_id: str) -> None:
    """Plan a job in a process of its own, which outlives this one."""
    subprocess.Popen(
        children.python("workers.planner", job_id),
        env=children.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(job_id: str) -> None:
    """Plan a job that is on the board."""
    from workers.config import Settings
    from workers.messages import publish, shared_board

    tracing.start()
    settings = Settings()
    board = shared_board()
    plan(
        board,
        job_id,
        files_of_job(board, job_id),
        publish,
        shard_files=settings.shard_files,
        queue_shards=settings.queue_shards,
    )


if __name__ == "__main__":
    main(*islice(sys.argv, 1, 2))
