"""What a server does for commands beside it: the same that they do on their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from search.engine import SearchEngine
from workers import resources
from workers.beside.server import Command
from workers.config import Settings

if TYPE_CHECKING:
    from workers.reports import IngestReport


def commands_of(engine: SearchEngine) -> dict[str, Command]:
    """By name; without a worker in this process, it does not ingest."""

    def search(request: Mapping[str, Any], _stop: Event) -> Iterator[Mapping[str, Any]]:
        from workers.searching import found

        yield found(request, engine, resources.shared_store())

    commands = {"search": search, "delete": _delete}
    return commands | ({"ingest": _ingest} if Settings().broker.startswith("memory:") else {})


def _delete(request: Mapping[str, Any], _stop: Event) -> Iterator[Mapping[str, Any]]:
    from workers.data_folder import shared_uploads
    from workers.removal import remove

    for target in request["targets"]:
        yield {"removed": remove(resources.shared_store(), target, shared_uploads())}


def _ingest(request: Mapping[str, Any], stop: Event) -> Iterator[Mapping[str, Any]]:
    """``total`` first, then ``report`` (`IngestReport.as_json`) of each shard as it ends."""
    from workers.ingesting import Ingest

    told: SimpleQueue[Mapping[str, Any] | BaseException | None] = SimpleQueue()

    def show(report: IngestReport) -> None:
        told.put({"report": report.as_json()})

    job = Ingest(**request)
    work = Thread(target=_run, args=(lambda: job.run(show, stop.is_set), told), daemon=True)
    yield {"total": job.n_files()}
    work.start()
    while (one := told.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one
    if stop.is_set():
        yield {"stopped": True}


def _run(
    work: Callable[[], None], told: SimpleQueue[Mapping[str, Any] | BaseException | None]
) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 (raised again by who listens)
        told.put(error)
    else:
        told.put(None)
