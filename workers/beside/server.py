"""Listen for commands of the same user, each in a thread. Started by `anymodal serve`."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedRWPair
from pathlib import Path
from threading import Event, Thread
from typing import Any

from encoder.errors import AnymodalError, InputError
from encoder.models.spec import stands_for
from workers.beside.place import attach, is_mine

logger = logging.getLogger(__name__)

Command = Callable[[Mapping[str, Any], Event], Iterator[Mapping[str, Any]]]
"""Runs a request until the event is set; yields the answers."""

_MAX_REQUEST_BYTES = 2**24


@contextmanager
def listening(
    path: Path, commands: Mapping[str, Command], models: Callable[[], Sequence[str]]
) -> Iterator[None]:
    """Serve until the block ends. The socket of a killed server is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    umask = os.umask(0o177)
    try:
        attach(listener.bind, path)
    finally:
        os.umask(umask)
    inode = path.stat().st_ino
    listener.listen(16)
    desk = _Desk(commands, models)
    Thread(target=desk.accept, args=(listener,), name="commands", daemon=True).start()
    try:
        yield
    finally:
        desk.stop()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        listener.close()
        with suppress(FileNotFoundError):
            if path.stat().st_ino == inode:  # not the socket of a later server
                path.unlink()
        for thread in desk.threads:
            thread.join()


class _Desk:
    def __init__(
        self, commands: Mapping[str, Command], models: Callable[[], Sequence[str]]
    ) -> None:
        self._commands = commands
        self._models = models
        self._is_stopping = False
        self._under_way: set[Event] = set()
        self.threads: list[Thread] = []

    def stop(self) -> None:
        self._is_stopping = True
        for stop in list(self._under_way):
            stop.set()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            if not is_mine(peer):
                peer.close()
                continue
            thread = Thread(target=self._serve, args=(peer,), name="command", daemon=True)
            self.threads = [running for running in self.threads if running.is_alive()] + [thread]
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, peer.makefile("rwb") as stream, suppress(OSError):
            message = json.loads(stream.readline(_MAX_REQUEST_BYTES) or "{}")
            command = self._commands.get(message.get("command", ""))
            if command is None or self._is_stopping:
                stream.write(b"-\n")
                return
            stream.write(b"+\n")
            stream.flush()
            stop = Event()
            self._under_way.add(stop)
            Thread(target=_watch, args=(stream, stop), daemon=True).start()
            try:
                self._answer(command, message, stream, stop)
            finally:
                self._under_way.discard(stop)
                with suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)  # ends `_watch`

    def _answer(
        self, command: Command, message: Mapping[str, Any], stream: BufferedRWPair, stop: Event
    ) -> None:
        try:
            self._check_model(message.get("model"))
            for answer in command(message["request"], stop):
                _send(stream, answer)
            _send(stream, {})
        except AnymodalError as error:
            _send(stream, {"error": _facts(error)})
        except OSError:
            raise  # the client has gone
        except Exception:
            logger.exception("a command failed")
            failure = {"type": "", "problem": "The server failed.", "remedy": "See its log."}
            _send(stream, {"error": failure})

    def _check_model(self, model_name: str | None) -> None:
        if not model_name:
            return
        model, *other_names = self._models()
        if not any(stands_for(model_name, name) for name in (model, *other_names)):
            raise InputError(
                "--model",
                got=f"{model_name}, while a server with {model} has the store open",
                wanted="the same model, or a stopped server",
            )


def _watch(stream: BufferedRWPair, stop: Event) -> None:
    with suppress(OSError, ValueError):
        stream.readline()
    stop.set()


def _send(stream: BufferedRWPair, facts: Mapping[str, Any]) -> None:
    stream.write(json.dumps(facts).encode() + b"\n")
    stream.flush()


def _facts(error: AnymodalError) -> dict[str, str]:
    if isinstance(error, InputError):
        return {"argument": error.argument, "got": error.got, "wanted": error.wanted}
    return {"type": type(error).__name__, "problem": error.problem, "remedy": error.remedy}
