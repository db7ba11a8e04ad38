"""Ask a running server. Imports little, so that a search takes a tenth of a second."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from encoder import errors
from search import errors as search_errors
from workers.beside.place import attach, is_mine, socket_path
from workers.environment import model_setting, store_setting

Parse = Callable[[str], Any]


class Answers:
    """The answers of a server, object by object, until it is done.

    Iterating raises the server's error, as if it had occurred here.
    """

    def __init__(self, peer: socket.socket, parse: Parse) -> None:
        self._peer = peer
        self._parse = parse

    def stop(self) -> None:
        """Ask it to stop after the current part; safe in a signal handler."""
        self._peer.sendall(b"\n")

    def __iter__(self) -> Iterator[Any]:
        ended = False
        with self._peer, self._peer.makefile("r", encoding="utf-8", newline="\n") as lines:
            for line in lines:
                if line.startswith('{"error"'):
                    raise _error(json.loads(line)["error"])
                if ended := line == "{}\n":
                    break
                yield self._parse(line)
        if not ended:
            raise search_errors.StoreUnavailableError(
                "The server that ran this command ended before it was done.",
                remedy="Whatever was stored stays; run the command again.",
            )


def ask(command: str, request: Mapping[str, Any], parse: Parse = json.loads) -> Answers | None:
    """Run a command in this user's server on the store of the settings.

    Returns:
        None if there is no server, or it does not know the command.
    """
    peer = _connected()
    if peer is None:
        return None
    model = model_setting()
    message = {"command": command, "model": model, "request": request}
    try:
        peer.sendall(json.dumps(message).encode() + b"\n")
        taken = peer.recv(2) == b"+\n"
    except OSError:  # it is shutting down
        taken = False
    if not taken:
        peer.close()
    return Answers(peer, parse) if taken else None


def _connected() -> socket.socket | None:
    path = socket_path(store_setting())
    if path is None or not path.exists():
        return None
    peer = socket.socket(socket.AF_UNIX)
    try:
        attach(peer.connect, path)
    except OSError:  # left behind by a server that was killed, or another user's
        peer.close()
        return None
    if is_mine(peer):
        return peer
    peer.close()
    return None


def _error(facts: Mapping[str, Any]) -> errors.AnymodalError:
    """Rebuild the error, as its own class if that takes a problem and a remedy."""
    if "argument" in facts:
        return errors.InputError(facts["argument"], got=facts["got"], wanted=facts["wanted"])
    name = facts["type"]
    kinds = {**vars(errors), **vars(search_errors)}
    error: errors.AnymodalError = kinds.get(name, errors.AnymodalError)(
        facts["problem"], facts["remedy"]
    )
    return error
