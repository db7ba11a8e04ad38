"""The commands that a server runs for others, or a command for itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from search.types import IngestRequest
from workers.beside.place import socket_path
from workers.serving.resources import Resources

if TYPE_CHECKING:
    from search.api.services import Services
    from search.engine import SearchEngine
    from workers.beside.server import Command


logger = logging.getLogger(__name__)

SendAnswer: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Hands on an answer."""


@contextmanager
def beside(resources: Resources, parts: Callable[[], Services]) -> Iterator[None]:
    """Run commands of this user on the same store until the block ends."""
    from workers.beside.server import listening

    path = socket_path(resources.settings.store)
    with ExitStack() as stack:
        try:
            if path is not None:
                commands = commands_of(resources, lambda: parts().engine)
                stack.enter_context(listening(path, commands, lambda: _models(resources, parts())))
        except OSError as error:  # a read-only store
            logger.warning("other commands cannot use this server: %s", error)
        yield


def _models(resources: Resources, parts: Services) -> list[str]:
    """Names by which commands may ask for the server's model: its own, and its predecessor's."""
    current = resources.current()
    return [parts.model, *(current.models if current else [])]


def engine_of(resources: Resources, stack: ExitStack) -> SearchEngine:
    """An engine over the store, until the stack ends."""
    from search.engine import SearchEngine

    store = resources.existing_store()
    encoder = resources.encoder()
    engine = stack.enter_context(closing(SearchEngine(encoder.home, store, lanes=encoder.lanes)))
    engine.prepare()
    return engine


def commands_of(resources: Resources, engine: Callable[[], SearchEngine]) -> dict[str, Command]:
    """Commands by name; no ingest without a worker in this process."""

    def search(request: Mapping[str, Any], _stop: Event) -> Iterator[Mapping[str, Any]]:
        from workers.beside.query import found

        yield found(request, engine(), resources)

    commands: dict[str, Command] = {
        "search": search,
        "delete": partial(_delete, resources),
        "calibrate": partial(_calibrate, resources),
        "reindex": partial(_reindex, resources),
        **{name: partial(_read, resources, name) for name in ("list", "stats", "info")},
    }
    if resources.settings.broker.startswith("memory:"):
        commands["ingest"] = partial(_ingest, resources)
    return commands


def _read(
    resources: Resources, command: str, request: Mapping[str, Any], _stop: Event
) -> Iterator[Mapping[str, Any]]:
    from workers.beside.listing import answered

    yield answered(command, request, resources.recorded_store())


def _delete(
    resources: Resources, request: Mapping[str, Any], _stop: Event
) -> Iterator[Mapping[str, Any]]:
    """Yield how many assets each target removed."""
    from workers.pipeline.commit_rows import remove

    store, media_types = resources.recorded_store(), request["media_types"]
    removed = [
        remove(store, target, resources.uploads, media_types) for target in request["targets"]
    ]
    yield {"removed": removed}


def _calibrate(
    resources: Resources, request: Mapping[str, Any], _stop: Event
) -> Iterator[Mapping[str, Any]]:
    from workers.pipeline.calibration import calibrate

    yield calibrate(resources.encoder(), resources.existing_store(), **request)


def _reindex(
    resources: Resources, request: Mapping[str, Any], stop: Event
) -> Iterator[Mapping[str, Any]]:
    """Yield ``done`` of ``all`` assets from time to time, then the result."""
    from workers.library.reindex import ReindexPlan, move

    def work(send: SendAnswer) -> None:
        send(move(resources, ReindexPlan(**request), _steps(send), stop.is_set).as_json())

    yield from _answers_of(work)


def _ingest(
    resources: Resources, request: Mapping[str, Any], stop: Event
) -> Iterator[Mapping[str, Any]]:
    """Yield ``total``, then the ``report`` (`IngestReport.as_json`) of each shard as it ends."""
    from workers.pipeline.files import count_files

    ingest_request = IngestRequest(**request)

    def work(send: SendAnswer) -> None:
        resources.pipeline(ingest_request.url_hosts).fulfil(
            ingest_request,
            on_report=lambda report: send({"report": report.as_json()}),
            stopped=stop.is_set,
        )

    yield {"total": count_files(ingest_request.paths)}
    yield from _answers_of(work)
    if stop.is_set():
        yield {"stopped": True}


def _steps(send: SendAnswer) -> Callable[[int, int], None]:
    return lambda n_done, n_all: send({"done": n_done, "all": n_all})


def _answers_of(work: Callable[[SendAnswer], None]) -> Iterator[Mapping[str, Any]]:
    """What ``work`` sends, while it runs in a thread; raises the error that ended it."""
    answers: SimpleQueue[Mapping[str, Any] | BaseException | None] = SimpleQueue()

    def run() -> None:
        try:
            work(answers.put)
        except BaseException as error:  # noqa: BLE001 (raised again below)
            answers.put(error)
        else:
            answers.put(None)

    Thread(target=run, daemon=True).start()
    while (answer := answers.get()) is not None:
        if isinstance(answer, BaseException):
            raise answer
        yield answer
