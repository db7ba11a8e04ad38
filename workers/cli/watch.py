"""``anymodal watch``."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click

from workers.cli.ingest import ingest_here, run_job, stop_on
from workers.cli.options import json_option, settings_options
from workers.cli.output import console, report_lines, wants_json
from workers.cli.running import opened

if TYPE_CHECKING:
    from workers.config import Settings
    from workers.library.watch import Changes
    from workers.pipeline.reports import IngestReport

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("folders", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--quiet",
    "quiet_s",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.05, 60),
    help="Ingest after this long without a change.",
)
@click.option(
    "--every",
    "every_s",
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(1),
    help="How often to check everything again.",
)
@settings_options("store", "broker", "model")
@json_option
def watch(folders: tuple[Path, ...], quiet_s: float, every_s: float) -> None:
    """Keep FOLDERS searchable until Ctrl-C or SIGTERM.

    First ingests what changed since the last time. From then on, new and changed files are ingested
    soon after they are written, deleted ones are no longer found, and renamed or moved ones are
    found at their new place without being encoded again. Nothing is removed from the store: that
    takes `anymodal ingest --prune`. A folder that loses its disk, all of its files or many at once
    loses nothing, which is reported. The store is open only while something is ingested.
    """
    from workers.config import current_settings
    from workers.library.watch import watch_folders

    settings, stop = current_settings(), stop_on(signal.SIGINT, signal.SIGTERM)
    roots = list(dict.fromkeys(folder.resolve() for folder in folders))
    for changes in watch_folders(roots, quiet_s, every_s, stop):
        is_whole = changes.paths == [str(root) for root in roots]
        started = time.perf_counter()
        report = _patiently(settings, changes, stop)
        if report is not None:
            _tell(report, time.perf_counter() - started, is_whole)


def _patiently(settings: Settings, changes: Changes, stop: Event) -> IngestReport | None:
    """Ingest; retry after a pause if that may help, so that nothing is lost. None if stopped."""
    from encoder.errors import AnymodalError
    from workers.pipeline.retry import Again, decide

    attempt = 0
    while not stop.is_set():
        try:
            return _done(settings, changes, stop)
        except AnymodalError as error:
            attempt += 1
            what = decide(error, attempt, random.random())
            if not isinstance(what, Again):
                raise
            click.echo(f"Waiting: {error}", err=True)
            stop.wait(what.delay_s)
    return None


def _done(settings: Settings, changes: Changes, stop: Event) -> IngestReport:
    from search.types import IngestRequest
    from workers.pipeline.reports import IngestReport

    report = IngestReport()
    request = IngestRequest(changes.paths, gone=changes.gone)
    if settings.broker.startswith("memory:"):
        ingest_here(request, report.add, stop)
        return report
    if changes.paths:
        run_job(settings, request, report, stop)
    if changes.gone and not stop.is_set():
        report.add(_forgotten(changes))
    return report


def _forgotten(changes: Changes) -> IngestReport:
    """With a broker this process removes what is gone, as `anymodal delete` does."""
    with opened() as resources:
        return resources.pipeline().forget([], prune=False, gone=changes.gone)


def _tell(report: IngestReport, wall_s: float, is_whole: bool) -> None:
    """A line of JSON for each batch, or lines for people."""
    if wants_json():
        facts = {"whole": is_whole, **report.as_json(), "wall_s": round(wall_s, 3)}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        return
    for line in report_lines(report, wall_s):
        console().print(line, soft_wrap=True)
