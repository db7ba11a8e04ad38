"""Run a command in the server that has the store open, or else in this process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any

from workers.beside.client import ask


def last_answer(
    command: str,
    request: Mapping[str, Any],
    on_progress: Callable[[int, int], object] = lambda _done, _all: None,
) -> dict[str, Any]:
    """The result of a command. Long ones report how much is ``done`` of ``all`` before it."""
    server_answers = ask(command, request)
    answers: Iterable[Any] = server_answers or run_here(command, request)
    answer: Any = {}
    for answer in answers:
        if "done" in answer:
            on_progress(answer["done"], answer["all"])
    return dict(answer)


def run_here(
    command: str, request: Mapping[str, Any], stop: Event | None = None
) -> Iterator[Mapping[str, Any]]:
    """Run a command in this process, over resources of its own, until the event is set."""
    from workers.beside.commands import commands_of, engine_of
    from workers.config import current_settings
    from workers.serving.resources import Resources

    gc.freeze()  # what was imported stays, and the collector need not count it
    if command == "search":
        from workers.beside.query import facts_of

        facts_of(request)  # report mistakes before loading the model
    with ExitStack() as stack:
        resources = Resources(current_settings(), counted=False)
        stack.callback(resources.close)
        engine = partial(engine_of, resources, stack)
        yield from commands_of(resources, engine)[command](request, stop or Event())
