"""The state of jobs: for people, as JSON, and as a progress bar."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ingest.types import Failure
from workers.cli.output import clock, gone_lines, left_out_lines, marked, progress_bar
from workers.pipeline.reports import IngestReport

if TYPE_CHECKING:
    from rich.table import Table

    from search.api import ports
    from search.api.ports import Job, Jobs

_POLL_S = 0.2


def watch(jobs: Jobs, job_id: str, stopped: Callable[[], bool]) -> Job:
    """Show a job's progress until it has ended; once ``stopped`` says so, cancel it."""
    with progress_bar() as bar:
        task = bar.add_task("ingest", total=None, note="")
        while not (job := jobs.status(job_id)).ended:
            bar.update(task, completed=job.n_done, total=_total(job), note=_note(job))
            if stopped():
                jobs.cancel(job_id)
            time.sleep(_POLL_S)
        bar.update(task, completed=job.n_done, total=job.n_files, note=_note(job))
    return job


def report_of(job: Job, failures: Iterable[ports.Failure]) -> IngestReport:
    """A job's counts as a report."""
    return IngestReport(
        job.ingested,
        job.unchanged,
        job.left_out,
        job.n_bytes,
        Counter(job.segments),
        dict(job.stage_s),
        [Failure(one.uri, one.error, one.reason) for one in failures],
        Counter(job.gone),
    )


def job_facts(job: Job) -> dict[str, Any]:
    """A job as plain values."""
    return {
        "id": job.job_id,
        "state": job.state,
        "planner_lost": job.planner_lost,
        "declined": dict(job.declined) if job.planner_lost else {},
        "reason": job.reason,
        "waits_for": job.waits_for,
        "priority": job.priority,
        "paths": list(job.paths),
        "labels": dict(job.labels),
        "prune": job.prune,
        "kinds": list(job.kinds),
        "created": round(job.created, 3),
        "finished": round(job.finished, 3) if job.finished else None,
        "seconds": round(job.seconds, 3),
        "left_s": round(job.left_s, 1) if job.left_s is not None else None,
        "files": job.n_files,
        "ingested": job.ingested,
        "unchanged": job.unchanged,
        "left_out": job.left_out,
        "failed": job.failed,
        **{name: job.gone.get(name, 0) for name in ("dropped", "gone", "pruned")},
        "bytes": job.n_bytes,
        "open_shards": job.open_shards,
        "shards_at_work": job.shards_at_work,
        "segments": dict(sorted(job.segments.items())),
        "segments_per_s": {
            kind: round(n / job.seconds, 2) for kind, n in sorted(job.segments.items())
        },
        "stage_s": dict(job.stage_s),
    }


def jobs_table(jobs: Sequence[Job]) -> Table:
    """Jobs, newest first."""
    from datetime import datetime

    from rich.table import Table

    table = Table()
    for heading in ("job", "state", "started", "files", "done", "set aside", "left"):
        table.add_column(heading, justify="left" if heading in ("job", "state") else "right")
    for job in jobs:
        begun = datetime.fromtimestamp(job.created).strftime("%d %b %H:%M")
        left = clock(job.left_s) if job.left_s is not None else ""
        numbers = (job.n_files, job.n_done, job.failed)
        state = "planner lost" if job.planner_lost else job.state
        table.add_row(job.job_id, state, begun, *map(str, numbers), left)
    return table


def job_lines(job: Job) -> list[str]:
    """The state of a job, for people, in rich markup."""
    rates = ", ".join(f"{kind} {n / job.seconds:.1f}/s" for kind, n in job.segments.items())
    lost = " (its planner is gone; a worker takes over)" if job.planner_lost else ""
    left = f", {clock(job.left_s)} left" if job.left_s is not None else ""
    return [
        f"[bold]{job.job_id}[/] {job.state}{lost}: {marked(', '.join(job.paths))}",
        f"{job.n_done} of {job.n_files} files in {clock(job.seconds)}{left}: {job.ingested} "
        f"ingested, {job.unchanged} unchanged, {job.failed} set aside",
        f"{job.n_bytes / 1e6:.1f} MB, segments: {rates or 'none'}",
        *left_out_lines(job.left_out),
        *gone_lines(job.gone),
        f"[dim]{job.open_shards} shards open, {job.shards_at_work} of them running[/]",
        *_planning_lines(job),
    ]


def _planning_lines(job: Job) -> list[str]:
    """Why it makes no progress."""
    declined = job.declined if job.planner_lost else {}
    lines = [
        f"[yellow]{marked(name)} cannot plan it: {marked(why)}[/]" for name, why in declined.items()
    ]
    if job.waits_for and not job.ended:
        lines.append(f"[yellow]waiting: {marked(job.waits_for)}[/]")
    return [*lines, f"[red]failed: {marked(job.reason)}[/]"] if job.reason else lines


def _note(job: Job) -> str:
    """The text after the progress bar."""
    parts = [f"{kind} {n / job.seconds:.1f}/s" for kind, n in sorted(job.segments.items())]
    parts += [f"{job.n_bytes / 1e6:.0f} MB"]
    parts += [f"{job.failed} set aside"] if job.failed else []
    parts += [f"waiting: {job.waits_for}"] if job.waits_for else []
    return " · ".join(parts)


def _total(job: Job) -> int | None:
    """Unknown while files are still being found: a bar that runs backwards helps nobody."""
    return job.n_files if job.state != "planning" else None
