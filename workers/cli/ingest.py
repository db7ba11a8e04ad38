"""``anymodal ingest``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from threading import Event
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from encoder.errors import DiskError, InputError
from encoder.system.signals import on_signals
from workers.cli.options import PathOrUrl, json_option, settings_options
from workers.cli.output import progress, report_lines, show
from workers.cli.running import opened

if TYPE_CHECKING:
    from search.types import IngestRequest, Labels
    from workers.config import Settings
    from workers.pipeline.reports import IngestReport


_OLD = "old"
"""What ``--prune`` without a value removes."""
_TEXTS = frozenset({"title", "language"})
_MAX_BYTES = 32_768


class _Ingest(click.Command):
    """Takes ``--prune`` as a flag too: click would read the path behind it as its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        flags = [f"--prune={_OLD}" if word == "--prune" else word for word in args[:end]]
        return super().parse_args(ctx, [*flags, *args[end:]])


@click.command(cls=_Ingest)
@click.argument("paths", nargs=-1, required=True, type=PathOrUrl())
@settings_options("url_hosts", "store", "broker", "model")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag the files. Repeatable.")
@click.option(
    "--metadata",
    multiple=True,
    metavar="KEY=VALUE",
    help="Store a text, number or other JSON with the files. Repeatable.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Ingest only files of this kind, such as image or pdf. Repeatable.",
)
@click.option(
    "--prune",
    type=click.Choice([_OLD, "all"]),
    metavar="[=all]",
    help="Remove stored files of the folders in PATHS that have not existed anywhere for 30 days; "
    "with --prune=all, all that do not exist now.",
)
@click.option(
    "--verify", is_flag=True, help="Read files again even if their size and time are as stored."
)
@json_option
@click.option("--detach", is_flag=True, help="Print the job's id and do not wait for it.")
@click.option(
    "--priority",
    type=click.Choice(["interactive", "normal", "bulk"]),
    default="normal",
    show_default=True,
    help="The job's priority among those on the broker.",
)
def ingest(
    paths: tuple[str, ...],
    tags: tuple[str, ...],
    metadata: tuple[str, ...],
    prune: str | None,
    kinds: tuple[str, ...],
    verify: bool,
    detach: bool,
    priority: str,
) -> None:
    """Make PATHS searchable: files, folders and (with --allow-url) URLs.

    Stored files are not encoded again, but tags and metadata given here replace their old ones; a
    changed file replaces its old content. A file that cannot be decoded is reported and set aside.
    With --kind, all other files, including those in archives, are counted as left out; whatever is
    stored of them stays. Files that are gone from a folder are no longer found, and come back with
    their tags within 30 days; then --prune removes them from the store. If a folder lost its disk,
    all of its files or many at once, nothing is forgotten without --prune=all. Ctrl-C finishes the
    files under way; run the same command to continue. With --broker, the files become a job that
    workers share; see `anymodal jobs`.
    """
    from ingest.kinds.registry import check_names
    from search.types import IngestRequest
    from workers.config import current_settings

    check_names(kinds)
    request = IngestRequest(
        paths,
        read_labels(tags, metadata),
        "all" if prune == "all" else bool(prune),
        kinds,
        priority,
        verify=verify,
    )
    settings = current_settings()
    embedded = settings.broker.startswith("memory:")
    if detach and embedded:
        raise click.UsageError("--detach needs --broker: without one, this process does the work.")
    if detach:
        from workers.cli.jobs import broker_jobs

        with closing(broker_jobs(settings)) as jobs:
            job_id = jobs.detach(request)
        show({"job": job_id}, lambda _: [job_id])
    else:
        _attend(settings, request, on_broker=not embedded)


def _attend(settings: Settings, request: IngestRequest, *, on_broker: bool) -> None:
    """Ingest, here or as a job on the broker, and report at the end."""
    from workers.pipeline.reports import IngestReport

    report = IngestReport()
    started = perf_counter()
    stop = stop_on(signal.SIGINT, says=" Press Ctrl-C again to quit at once.")
    job_id = None
    refused = None
    try:
        if on_broker:
            job_id = run_job(settings, request, report, stop)
        else:
            _run(request, report, stop)
    except DiskError as error:
        refused = error
    wall_s, interrupted = perf_counter() - started, stop.is_set() or bool(refused)
    facts = {"wall_s": round(wall_s, 3), "interrupted": interrupted}
    job = {"job": job_id} if job_id else {}
    show({**report.as_json(), **facts, **job}, lambda _: report_lines(report, wall_s))
    if refused:
        raise refused
    _leave(settings, report, job_id, interrupted=stop.is_set())


def _leave(
    settings: Settings, report: IngestReport, job_id: str | None, *, interrupted: bool
) -> None:
    """Exit with 130 if interrupted, with 1 if the job failed or nothing was read."""
    if interrupted:
        again = f"anymodal jobs retry {job_id}" if job_id else "the same command again"
        click.echo(f"Interrupted. To ingest the rest, run {again}", err=True)
        raise SystemExit(130)
    if job_id:
        from workers.jobs.board import JobBoard

        if reason := JobBoard.of(settings).status(job_id).reason:
            click.echo(f"Error: {reason}. Then run: anymodal jobs retry {job_id}", err=True)
            raise SystemExit(1)
    if report.failures and not (report.ingested or report.unchanged):
        raise SystemExit(1)


def _run(request: IngestRequest, report: IngestReport, stop: Event) -> None:
    from workers.pipeline.files import count_files

    with progress("ingest") as tell:
        n_files = count_files(request.paths)

        def take(shard: IngestReport) -> None:
            report.add(shard)
            note = f"{len(report.failures)} set aside" if report.failures else ""
            tell(report.n_files, n_files, note)

        with opened() as resources:
            resources.pipeline().fulfil(request, on_report=take, stopped=stop.is_set)


def run_job(settings: Settings, request: IngestRequest, report: IngestReport, stop: Event) -> str:
    """Plan a job here and watch it until it ends; return its id."""
    from workers.cli.jobs import broker_jobs, report_of, watch_job
    from workers.jobs.broker import n_workers
    from workers.observe import tracing

    with closing(broker_jobs(settings)) as jobs:
        tracing.start()
        if not n_workers():
            click.echo(
                "No worker has answered yet. Start one: anymodal worker --broker URL", err=True
            )
        job_id = jobs.submit(request)
        report.add(report_of(watch_job(jobs, job_id, stop.is_set), jobs.failures(job_id)))
    return job_id


def read_labels(tags: Sequence[str], pairs: Sequence[str]) -> Labels:
    """Labels from ``--tag`` and ``--metadata``.

    Args:
        tags: empty ones are skipped, so that a single empty tag removes all tags.
        pairs: ``KEY=VALUE``; a value is parsed as JSON if it is JSON, else it is a text.

    Raises:
        InputError: not a pair, a reserved name, or too much.

    >>> read_labels(["sea", "night"], ["year=1999", "license=CC0", "where={\\"lat\\": 54.5}"])
    {'year': 1999, 'license': 'CC0', 'where': {'lat': 54.5}, 'tags': ['sea', 'night']}
    """
    labels = dict(map(_pair, pairs))
    if tags:
        labels["tags"] = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    n_bytes = len(json.dumps(labels).encode())
    if n_bytes > _MAX_BYTES:
        raise InputError(
            "--metadata", got=f"{n_bytes:,} bytes", wanted=f"{_MAX_BYTES:,} bytes at most"
        )
    return labels


def _pair(pair: str) -> tuple[str, Any]:
    from search.types import FILE_FACTS

    key, equals, text = pair.partition("=")
    if not equals or not key:
        raise InputError("--metadata", got=repr(pair), wanted="KEY=VALUE, such as license=CC0")
    if key in FILE_FACTS:
        raise InputError(
            "--metadata",
            got=f"{key}, set by the file",
            wanted="another name (--tag for tags)",
        )
    return key, text if key in _TEXTS else _value(text)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)  # NaN and infinity are Python's, not JSON


def stop_on(*signals: signal.Signals, says: str = "") -> Event:
    """The event that a signal sets. An exception could be raised anywhere, and be lost.

    A second signal ends the process at once.
    """
    stop = Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            # Every write is an upsert that the next run repeats, so nothing is lost.
            os._exit(128 + number)
        stop.set()
        os.write(2, f"\nFinishing the files under way;{says}\n".replace(";\n", ".\n").encode())

    on_signals(on_signal, *signals, at_once=True)
    return stop
