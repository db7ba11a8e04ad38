"""``anymodal watch``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click

from workers.cli.ingest import run_job, stop_on
from workers.cli.options import json_option, settings_options
from workers.cli.output import console, report_lines, wants_json

if TYPE_CHECKING:
    from workers.config import Settings
    from workers.library.watch import Changes
    from workers.pipeline.reports import IngestReport
    from workers.serving.resources import Resources

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_IDLE_S = 60.0
"""After this long without a change, model and store are closed until the next."""


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
    loses nothing, which is reported. Model and store stay open for a minute after the last change;
    a file of Milvus Lite, which one process can have, is open only while something is ingested.
    """
    from workers.config import current_settings
    from workers.library.watch import watch_folders

    settings, stop = current_settings(), stop_on(signal.SIGINT, signal.SIGTERM)
    roots = list(dict.fromkeys(folder.resolve() for folder in folders))
    with closing(_Library(settings)) as library:
        for changes in watch_folders(roots, quiet_s, every_s, stop):
            if not changes:
                library.close_if_idle()
                continue
            is_whole = changes.paths == [str(root) for root in roots]
            started = time.perf_counter()
            report = _patiently(library, changes, stop)
            if report is not None:
                _tell(report, time.perf_counter() - started, is_whole)


class _Library:
    """The model and the store of a process that ingests now and then."""

    def __init__(self, settings: Settings) -> None:
        from search.store.open import admits_others
        from workers.serving.resources import Resources

        self.settings = settings
        self._resources = Resources(settings, counted=False)
        self._idle_s = _IDLE_S if admits_others(settings.store) else 0.0
        self._last_use = time.monotonic()

    @contextmanager
    def opened(self) -> Iterator[Resources]:
        """What is open, or is opened now: the store as it is, whatever others did to it."""
        from search.errors import StoreGoneError

        resources = self._resources
        try:
            with resources.reopening():
                resources.follow()
                try:
                    resources.store().check_writable()
                except StoreGoneError:  # a new one is made, as by a command
                    resources.forget_store()
                yield resources
        finally:
            self._last_use = time.monotonic()
            self.close_if_idle()

    def close_if_idle(self) -> None:
        if time.monotonic() - self._last_use >= self._idle_s:
            self.close()

    def close(self) -> None:
        self._resources.close()


def _patiently(library: _Library, changes: Changes, stop: Event) -> IngestReport | None:
    """Ingest; retry after a pause if that may help, so that nothing is lost. None if stopped."""
    from workers.pipeline import retry

    def pause(again: retry.Again, error: Exception, _attempt: int) -> bool:
        click.echo(f"Waiting: {error}", err=True)
        return not stop.wait(again.delay_s)

    try:
        return retry.tried(lambda: _done(library, changes, stop), 1, pause)
    except retry.FailedError as failed:
        if stop.is_set():
            return None
        raise failed.error from None


def _done(library: _Library, changes: Changes, stop: Event) -> IngestReport:
    from search.types import IngestRequest
    from workers.pipeline.reports import IngestReport

    report = IngestReport()
    request = IngestRequest(changes.paths, gone=changes.gone)
    if library.settings.broker.startswith("memory:"):
        with library.opened() as resources:
            resources.pipeline().fulfil(request, on_report=report.add, stopped=stop.is_set)
        return report
    if changes.paths:
        run_job(library.settings, request, report, stop)
    if changes.gone and not stop.is_set():  # here, as `anymodal delete` does
        with library.opened() as resources:
            report.add(resources.pipeline().forget([], prune=False, gone=changes.gone))
    return report


def _tell(report: IngestReport, wall_s: float, is_whole: bool) -> None:
    """A line of JSON for each batch, or lines for people."""
    if wants_json():
        facts = {"whole": is_whole, **report.as_json(), "wall_s": round(wall_s, 3)}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        return
    for line in report_lines(report, wall_s):
        console().print(line, soft_wrap=True)
