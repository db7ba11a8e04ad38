"""``anymodal jobs``: what was planned on a broker, how it stands, and what was set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from workers.commands.options import apply_options, broker_option, json_option

if TYPE_CHECKING:
    from workers.board import JobBoard
    from workers.job_types import DeadLetter


@click.group(invoke_without_command=True)
@broker_option
@json_option
@click.pass_context
def jobs(ctx: click.Context, broker: str | None, as_json: bool) -> None:
    """List the jobs on a broker, or do something with one."""
    apply_options(broker=broker)
    if ctx.invoked_subcommand is None:
        from workers.output import console, jobs_table, print_json, wants_json

        found = _board().jobs()
        if wants_json(as_json):
            print_json({"jobs": [job.as_json() for job in found]})
        else:
            console().print(jobs_table(found) if found else "No jobs.")


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--failed", is_flag=True, help="Also the files that were set aside, with reasons.")
@broker_option
@json_option
def show(job_id: str, failed: bool, broker: str | None, as_json: bool) -> None:
    """Show how the job ID stands."""
    apply_options(broker=broker)
    from workers.output import console, job_lines, print_json, wants_json

    job = _board().view(job_id)
    letters = list(_board().dead_letters(job_id)) if failed else []
    if wants_json(as_json):
        extra = {"failures": [asdict(letter) for letter in letters]} if failed else {}
        print_json({**job.as_json(), **extra})
        return
    for line in [*job_lines(job), *_letter_lines(letters)]:
        console().print(line, soft_wrap=True)


@jobs.command()
@click.argument("job_id", metavar="ID")
@broker_option
@json_option
def retry(job_id: str, broker: str | None, as_json: bool) -> None:
    """Try again what the job ID set aside.

    If its planning was broken off, or it was cancelled, it is planned anew: what is stored
    already is not encoded again.
    """
    apply_options(broker=broker)
    from workers.broker import check_broker
    from workers.messages import publish
    from workers.output import print_json, wants_json
    from workers.planner import replay, start_planner

    check_broker()
    job = _board().view(job_id)
    if job.planner_lost or job.state in ("cancelling", "cancelled"):
        _board().restart(job_id, job.paths, priority=job.priority, labels=job.labels)
        start_planner(job_id)
        done: dict[str, object] = {"id": job_id, "planned_anew": True}
        line = f"{job_id}: planned anew"
    else:
        n_files = replay(_board(), job_id, publish)
        done = {"id": job_id, "retried": n_files}
        line = f"{job_id}: {n_files} files are tried again"
    if wants_json(as_json):
        print_json(done)
    else:
        click.echo(line)


@jobs.command()
@click.argument("job_id", metavar="ID")
@broker_option
@json_option
def cancel(job_id: str, broker: str | None, as_json: bool) -> None:
    """Drop what the job ID has not begun; what is under way is finished. What was stored stays."""
    apply_options(broker=broker)
    from workers.output import print_json, wants_json

    was_running = _board().cancel(job_id)
    state = _board().view(job_id).state
    if wants_json(as_json):
        print_json({"id": job_id, "cancelled": was_running, "state": state})
    elif not was_running:
        click.echo(f"{job_id}: had ended already")
    else:
        under_way = ", until what is under way is finished" if state == "cancelling" else ""
        click.echo(f"{job_id}: {state}{under_way}")


def _board() -> JobBoard:
    from workers.broker import check_broker
    from workers.messages import shared_board

    check_broker()
    return shared_board()


def _letter_lines(letters: Sequence[DeadLetter]) -> list[str]:
    from rich.markup import escape

    return [f"[yellow]{escape(x.uri)}[/] {x.error}: {escape(x.reason)}" for x in letters]
