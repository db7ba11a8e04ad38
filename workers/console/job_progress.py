"""Plan a job in a thread and show its progress."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from workers.config import current_settings
from workers.console.output import job_note, progress_bar
from workers.jobs.board import JobBoard
from workers.jobs.job_types import JobView
from workers.jobs.messages import publish
from workers.jobs.planning.planner import files_of_job, plan
from workers.jobs.planning.walked_folders import WalkedFolders
from workers.pipeline.reports import IngestReport

_POLL_S = 0.2


def plan_and_watch(board: JobBoard, job_id: str, stopped: Callable[[], bool]) -> IngestReport:
    """Feed the job's shards and wait until it ends; return its counts and dead letters.

    Once ``stopped`` is true, cancel the job: workers finish their current shards.
    """
    settings = current_settings()
    walked = WalkedFolders(board.view(job_id).paths)
    files = files_of_job(board, job_id, walked)
    with ThreadPoolExecutor(1, thread_name_prefix="planner") as pool, progress_bar() as bar:
        task = bar.add_task("ingest", total=None, note="")
        planning = pool.submit(
            plan,
            board,
            job_id,
            files,
            publish,
            shard_files=settings.shard_files,
            queue_shards=settings.queue_shards,
            stopped=stopped,
            walked=walked,
        )
        while not (job := board.view(job_id)).ended:
            bar.update(task, completed=job.n_done, total=_total(job), note=job_note(job))
            if stopped():
                board.cancel(job_id)
            if planning.done():
                planning.result()
            time.sleep(_POLL_S)
        bar.update(task, completed=job.n_done, total=job.n_files, note=job_note(job))
    return report_of(job, board)


def report_of(job: JobView, board: JobBoard) -> IngestReport:
    """A job's counts as a report."""
    return IngestReport(
        job.ingested,
        job.unchanged,
        job.n_bytes,
        Counter(job.segments),
        dict(job.stage_s),
        list(board.dead_letters(job.job_id)),
        Counter(job.gone),
    )


def _total(job: JobView) -> int | None:
    """None while files are still being found, so that the bar never runs backwards."""
    return job.n_files if job.state != "planning" else None
