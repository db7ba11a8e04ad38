"""Ask about what is stored: a server of this user that holds the store, else the store itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from search.store.base import VectorStore


def answer(command: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to ``list``, ``stats`` or ``info``.

    Raises:
        StoreMissingError: there is no store.
    """
    from workers.serving.beside.client import ask

    if answers := ask(command, request):
        return dict(next(iter(answers)))
    from workers.config import current_settings
    from workers.serving.resources import Resources

    with closing(Resources(current_settings())) as held:
        return answered(command, request, held.existing_store(hold=False))


def answered(command: str, request: Mapping[str, Any], store: VectorStore) -> dict[str, Any]:
    """The same, of an open store."""
    from workers.library.listing import counted, described, listed

    if command == "list":
        return listed(request, store)
    return counted(store) if command == "stats" else described(store, request["target"])


def show(
    facts: Mapping[str, Any],
    lines: Callable[[Mapping[str, Any]], Iterator[RenderableType]],
    as_json: bool,
) -> None:
    """JSON into a pipe, lines on a terminal."""
    from workers.cli.output import console, print_json, wants_json

    if wants_json(as_json):
        print_json(facts)
        return
    screen = console()
    for line in lines(facts):
        screen.print(line)
