"""``anymodal jobs``: jobs on a broker, their progress, and the files they set aside."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import click

from ingest.types import Failure
from workers.cli.options import json_option, settings_options
from workers.cli.output import clock, count_lines, marked, progress, show, table
from workers.pipeline.reports import IngestReport

if TYPE_CHECKING:
    from rich.table import Table

    from search.jobs import FailedFile, Job, Jobs
    from workers.config import Settings
    from workers.jobs.redis import RedisJobs

_POLL_S = 0.2
_ASKED = ("priority", "paths", "labels", "prune", "kinds")
_NO_BROKER = (
    "Jobs are kept on a broker, but none is set. Pass --broker redis://HOST:6379/0 or set "
    "ANYMODAL_BROKER. Without a broker, `anymodal ingest` works in its own process and shows its "
    "progress there; a running `anymodal serve` lists its jobs at GET /v1/jobs."
)


@click.group(invoke_without_command=True)
@settings_options("broker")
@json_option
@click.pass_context
def jobs(ctx: click.Context) -> None:
    """List, show, retry and cancel jobs on a broker."""
    if ctx.invoked_subcommand is None:
        recent = _jobs().recent()
        facts = {"jobs": [job_facts(job) for job in recent]}
        show(facts, lambda _: [jobs_table(recent)] if recent else ["No jobs."])


@jobs.command("show")
@click.argument("job_id", metavar="ID")
@click.option(
    "--failed", is_flag=True, help="Also list the files that were set aside, with reasons."
)
@settings_options("broker")
@json_option
def show_job(job_id: str, failed: bool) -> None:
    """Show job ID."""
    job = _jobs().status(job_id)
    failures = list(_jobs().failures(job_id)) if failed else []
    extra = {"failures": [asdict(failure) for failure in failures]} if failed else {}
    lines = [f"[yellow]{marked(x.uri)}[/] {x.error}: {marked(x.reason)}" for x in failures]
    show({**job_facts(job), **extra}, lambda _: [*job_lines(job), *lines])


@jobs.command()
@click.argument("job_id", metavar="ID")
@settings_options("broker")
@json_option
def retry(job_id: str) -> None:
    """Retry the files that job ID set aside.

    If its planner died, another one continues where it stopped. A cancelled or failed job is
    planned again; stored files are not encoded again.
    """
    from workers.jobs.broker import publish
    from workers.jobs.planner import replay

    job = _jobs().status(job_id)
    if job.state in ("cancelling", "cancelled", "failed"):
        by = _plan_anew(job)
        done: dict[str, object] = {"id": job_id, "planned_anew": True}
        lines = [f"{job_id}: planned again{by}"]
    else:
        by = _plan_on(job)
        n_files = replay(_jobs().board, job_id, publish)
        done = {"id": job_id, "retried": n_files, "planned_on": bool(by)}
        lines = [f"{job_id}: its planner was gone; planning continues{by}"] if by else []
        lines += [f"{job_id}: retrying {n_files} files"] if n_files or not by else []
    show(done, lambda _: map(marked, lines))


def _plan_anew(job: Job) -> str:
    """Plan a job from the start; return who plans it."""
    from workers.jobs.planner import start_planner
    from workers.jobs.recovery import unseen_path

    restart = partial(_jobs().board.restart, job.job_id, job.request)
    if unseen := unseen_path(job.request.paths):
        restart(start_s=0.0)
        return _by_a_worker(unseen)
    restart()
    start_planner(job.job_id)
    return ""


def _plan_on(job: Job) -> str:
    """Continue a job whose planner is gone; return who does, or "" if it is not gone."""
    from workers.jobs.planner import start_planner
    from workers.jobs.recovery import lost_its_planner, unseen_path

    def say(waiting_job: Job) -> None:
        wait_s = waiting_job.planner_until - waiting_job.now
        click.echo(f"{waiting_job.job_id}: waiting up to {wait_s:.0f} s for its planner.", err=True)

    board = _jobs().board
    if not lost_its_planner(board, job.job_id, say):
        return ""
    if unseen := unseen_path(job.request.paths):
        return _by_a_worker(unseen)
    if board.planners.hand_over(job.job_id):
        start_planner(job.job_id)
        return " here"
    return " on a worker"


def _by_a_worker(unseen: str) -> str:
    return f" on a worker that sees {unseen}, which is not on this machine"


@jobs.command()
@click.argument("job_id", metavar="ID")
@settings_options("broker")
@json_option
def cancel(job_id: str) -> None:
    """Cancel job ID: running shards end soon, others are dropped. What is stored stays."""
    was_running = _jobs().cancel(job_id)
    state = _jobs().status(job_id).state
    under_way = ", until the running shards end" if state == "cancelling" else ""
    summary = f"{job_id}: {state}{under_way}" if was_running else f"{job_id}: has already ended"
    show({"id": job_id, "cancelled": was_running, "state": state}, lambda _: [summary])


@cache
def _jobs() -> RedisJobs:
    from workers.config import current_settings

    settings = current_settings()
    if settings.broker.startswith("memory:"):
        raise click.UsageError(_NO_BROKER)
    return broker_jobs(settings)


def broker_jobs(settings: Settings) -> RedisJobs:
    """The jobs on the broker, after checking that it answers."""
    from workers.jobs.board import JobBoard
    from workers.jobs.broker import check_broker
    from workers.jobs.redis import RedisJobs

    check_broker()
    return RedisJobs(JobBoard.of(settings), settings)


def watch_job(board: Jobs, job_id: str, stopped: Callable[[], bool]) -> Job:
    """Show a job's progress until it has ended; once ``stopped`` says so, cancel it."""
    with progress("ingest") as tell:
        while not (job := board.status(job_id)).ended:
            # Unknown while files are still being found: a bar that runs backwards helps nobody.
            tell(job.n_done, job.n_files if job.state != "planning" else None, _note(job))
            if stopped():
                board.cancel(job_id)
            time.sleep(_POLL_S)
        tell(job.n_done, job.n_files, _note(job))
    return job


def report_of(job: Job, failures: Iterable[FailedFile]) -> IngestReport:
    return IngestReport(
        ingested=job.ingested,
        unchanged=job.unchanged,
        left_out=job.left_out,
        n_bytes=job.n_bytes,
        segments=Counter(job.segments),
        stage_s=dict(job.stage_s),
        failures=[Failure(failure.uri, failure.error, failure.reason) for failure in failures],
        gone=Counter(job.gone),
        limits=Counter(job.limits),
        tokens=Counter(job.tokens),
    )


def job_facts(job: Job) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "state": job.state,
        "planner_lost": job.planner_lost,
        "declined": dict(job.declined) if job.planner_lost else {},
        "reason": job.reason,
        "waits_for": job.waits_for,
        **{name: getattr(job.request, name) for name in _ASKED},
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
        "limits": dict(job.limits),
        "tokens": dict(job.tokens),
        "segments_per_s": {
            modality: round(n / job.seconds, 2) for modality, n in sorted(job.segments.items())
        },
        "stage_s": dict(job.stage_s),
    }


def jobs_table(recent: Sequence[Job]) -> Table:
    rows = [
        (
            job.job_id,
            "planner lost" if job.planner_lost else job.state,
            datetime.fromtimestamp(job.created).strftime("%d %b %H:%M"),
            job.n_files,
            job.n_done,
            job.failed,
            None if job.left_s is None else clock(job.left_s),
        )
        for job in recent
    ]
    headings = ("job", "state", "started", "files", "done", "set aside", "left")
    return table(headings, rows, n_left=2)


def job_lines(job: Job) -> list[str]:
    """The state of a job, for people, in rich markup."""
    rates = ", ".join(f"{modality} {n / job.seconds:.1f}/s" for modality, n in job.segments.items())
    lost = " (its planner is gone; a worker takes over)" if job.planner_lost else ""
    time_left = f", {clock(job.left_s)} left" if job.left_s is not None else ""
    return [
        f"[bold]{job.job_id}[/] {job.state}{lost}: {marked(', '.join(job.request.paths))}",
        f"{job.n_done} of {job.n_files} files in {clock(job.seconds)}{time_left}: {job.ingested} "
        f"ingested, {job.unchanged} unchanged, {job.failed} set aside",
        f"{job.n_bytes / 1e6:.1f} MB, segments: {rates or 'none'}",
        *count_lines(job),
        f"[dim]{job.open_shards} shards open, {job.shards_at_work} of them running[/]",
        *_planning_lines(job),
    ]


def _planning_lines(job: Job) -> list[str]:
    declined = job.declined if job.planner_lost else {}
    lines = [
        f"[yellow]{marked(name)} cannot plan it: {marked(why)}[/]" for name, why in declined.items()
    ]
    if job.waits_for and not job.ended:
        lines.append(f"[yellow]waiting: {marked(job.waits_for)}[/]")
    return [*lines, f"[red]failed: {marked(job.reason)}[/]"] if job.reason else lines


def _note(job: Job) -> str:
    parts = [f"{modality} {n / job.seconds:.1f}/s" for modality, n in sorted(job.segments.items())]
    parts += [f"{job.n_bytes / 1e6:.0f} MB"]
    parts += [f"{job.failed} set aside"] if job.failed else []
    parts += [f"waiting: {job.waits_for}"] if job.waits_for else []
    return " · ".join(parts)
