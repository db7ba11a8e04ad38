"""Ingest for a command: in a server of this user, in this process, or as a job on a broker."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from search.errors import StoreUnavailableError

if TYPE_CHECKING:
    from search.types import Labels, Prune
    from workers.config import Settings
    from workers.jobs.redis import RedisJobs
    from workers.pipeline.reports import IngestReport


def ingested(
    settings: Settings,
    what: Mapping[str, Any],
    show: Callable[[IngestReport], None],
    stop: Stop,
    total: Callable[[int | None], object] = lambda _: None,
    *,
    in_server: bool = True,
) -> None:
    """Ingest in a server of this user that holds the store, else in this process.

    Args:
        settings: of this process.
        what: ``paths``, ``labels``, ``prune``, ``kinds``, ``url_hosts`` and ``gone``; see
            `workers.pipeline.IngestPipeline.run`.
        show: takes the report of each part as it ends.
        stop: ends it early.
        total: takes the number of files; None if it is not known, as for object stores.
        in_server: if false, it is always done in this process, with its priority and threads; only
            for stores that several processes can write.

    Raises:
        StoreUnavailableError: the server was stopped meanwhile.
    """
    from workers.pipeline.reports import IngestReport
    from workers.serving.beside.client import ask

    if not in_server or (answers := ask("ingest", what)) is None:
        _run_here(settings, what, show, stop, total)
        return
    stop.then(answers.stop)
    for told in answers:
        if "total" in told:
            total(told["total"])
        elif "stopped" in told:
            _check_asked(stop)
        else:
            show(IngestReport.from_json(told["report"]))


def _check_asked(stop: Event) -> None:
    """A server that stops early without being asked to is shutting down."""
    if not stop.is_set():
        raise StoreUnavailableError(
            "The server that held the store was stopped before everything was ingested.",
            remedy="Run the command again to ingest the rest.",
        )


def _run_here(
    settings: Settings,
    what: Mapping[str, Any],
    show: Callable[[IngestReport], None],
    stop: Event,
    total: Callable[[int | None], object],
) -> None:
    from workers.pipeline.files import count_files
    from workers.serving.resources import Resources

    total(count_files(what["paths"]))
    with closing(Resources(settings)) as held:
        held.pipeline(what["url_hosts"]).run(
            what["paths"],
            labels=what["labels"],
            prune=what["prune"],
            kinds=what.get("kinds", ()),
            gone=what.get("gone", {}),
            on_report=show,
            stopped=stop.is_set,
        )


def run_job(
    settings: Settings,
    paths: Iterable[str],
    priority: str,
    labels: Labels,
    prune: Prune,
    report: IngestReport,
    stop: Event,
    kinds: Sequence[str] = (),
) -> str:
    """Plan a job here and watch it until it ends; return its id."""
    from workers.cli.job_views import report_of, watch
    from workers.jobs.broker import n_workers
    from workers.observe import tracing

    with broker_jobs(settings) as jobs:
        tracing.start()
        if not n_workers():
            click.echo(
                "No worker has answered yet. Start one: anymodal worker --broker URL", err=True
            )
        job_id = jobs.submit(
            absolute_paths(paths), priority=priority, labels=labels, prune=prune, kinds=kinds
        )
        report.add(report_of(watch(jobs, job_id, stop.is_set), jobs.failures(job_id)))
    return job_id


def broker_jobs(settings: Settings) -> AbstractContextManager[RedisJobs]:
    """The jobs on the broker, after checking that it answers."""
    from workers.jobs.board import JobBoard
    from workers.jobs.broker import check_broker
    from workers.jobs.redis import RedisJobs

    check_broker()
    return closing(RedisJobs(JobBoard.of(settings), settings))


def absolute_paths(paths: Iterable[str]) -> list[str]:
    """Absolute paths: a worker may run in another folder."""
    from ingest.sources.objects import is_object
    from ingest.sources.remote import is_url

    # `Path.resolve` would follow links
    return [
        path if is_url(path) or is_object(path) else os.path.abspath(path)  # noqa: PTH100
        for path in paths
    ]


class Stop(Event):
    """Set by a signal; may also stop a job elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._further: Callable[[], None] = lambda: None

    def then(self, further: Callable[[], None]) -> None:
        """Also call this function when the event is set."""
        self._further = further
        if self.is_set():
            further()

    def set(self) -> None:
        """Stop."""
        super().set()
        with suppress(OSError):
            self._further()


def stop_on(*signals: signal.Signals, says: str = "") -> Stop:
    """The event that a signal sets. An exception could be raised anywhere, and be lost.

    A second signal ends the process at once.
    """
    stop = Stop()

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set():
            # Every write is an upsert that the next run repeats, so nothing is lost.
            os._exit(128 + number)
        stop.set()
        # Not `print`, which is not re-entrant: the signal may interrupt one.
        os.write(2, f"\nFinishing the files under way;{says}\n".replace(";\n", ".\n").encode())

    for one in signals:
        signal.signal(one, on_signal)
    return stop
