"""One Milvus Lite for several processes on this machine: a server, and how to find it.

The server's address is stored in the store's folder, so that other processes find it. It
listens on the loopback device only, and knows no passwords: everyone on this machine may read it.

Server and supervisor (`anymodal up`) each hold a lock in the folder, which the kernel frees however
they end. As long as either is held, the folder is shared, and nobody else opens it; who has used it
so waits for the server from then on, since it comes back.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from encoder.errors import AnymodalError
from encoder.system.disk import writing
from search.errors import StoreUnservedError

if TYPE_CHECKING:
    from search.store.lite.client import LiteClient

_ADDRESS = "server.json"
_SERVER, _SUPERVISOR = "server.lock", "up.lock"
_PATIENCE_S = 10.0
"""How long a store that is opened waits for a server that is being restarted."""
_ANSWER_S = 1.0
_POLL_S = 0.05

_joined: set[Path] = set()
"""The folders that are shared as far as this process has seen."""


@dataclass(frozen=True)
class Served:
    """Who serves a folder, and where; after a restart it may have the same address and process id.

    Args:
        uri: its address.
        pid: its process.
        key: differs from that of every other server.
    """

    uri: str
    pid: int
    key: str = ""


def served(folder: Path) -> Served | None:
    """The server of this folder, if one runs on this machine and takes connections."""
    if not _is_held(folder / _SERVER):
        return None
    try:
        server = Served(**json.loads((folder / _ADDRESS).read_text()))
        at = urlsplit(server.uri)
        socket.create_connection((str(at.hostname), at.port or 0), timeout=_ANSWER_S).close()
    except (OSError, ValueError, TypeError):
        return None
    return server


def is_shared(folder: Path) -> bool:
    """Whether this process leaves it to a server to open this folder: once so, it stays so."""
    if _is_held(folder / _SERVER) or _is_held(folder / _SUPERVISOR):
        _joined.add(folder)
    return folder in _joined


def check_served(folder: Path) -> Served:
    """The server of a shared folder.

    Raises:
        StoreUnservedError: it is away.
    """
    if server := served(folder):
        return server
    raise StoreUnservedError(
        f"The store {folder} is shared, and its server is away.",
        remedy="It comes back by itself while `anymodal up` runs; otherwise run that again.",
    )


def joined(folder: Path) -> LiteClient | str:
    """This folder, opened in this process (see `stop_lite`), or the address of its server.

    Raises:
        StoreUnservedError: it is shared, and its server is away for longer than a restart takes.
    """
    from search.store.lite.in_process import start_lite

    if not is_shared(folder):
        return start_lite(folder)
    until_s = time.monotonic() + _PATIENCE_S
    while not served(folder) and time.monotonic() < until_s:
        time.sleep(_POLL_S)
    return check_served(folder).uri


@contextmanager
def supervised(folder: Path) -> Iterator[None]:
    """Mark a folder as shared until the block ends, whether its server runs or not."""
    with _held(folder / _SUPERVISOR):
        yield


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits at most for those who look whether it is held
        yield
    finally:
        os.close(file)


def _is_held(lock: Path) -> bool:
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def serve(folder: Path, port: int = 0) -> None:
    """Serve a folder until SIGTERM or SIGINT; for the main thread of its own process.

    Also ends when the disk refuses a write, after which Milvus Lite has to be opened again.
    """
    from search.store.lite import in_process as lite

    ended = Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: ended.set())

    def end() -> None:
        lite.refuse_requests(folder)
        ended.set()

    lite.on_spoilt = end  # the next start reads its log
    uri = lite.serve_lite(folder, port)
    address = folder / _ADDRESS
    partial = address.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(Served(uri, os.getpid(), uuid4().hex))))
    partial.replace(address)  # whole or not at all
    try:
        with _held(folder / _SERVER):
            ended.wait()
            address.unlink(missing_ok=True)
    finally:
        lite.stop_lite(folder)


def main(folder: str, port: str) -> None:
    """Serve a folder; an error is printed as a line, with the exit status 1."""
    try:
        with writing(f"The store {folder}"):
            serve(Path(folder), int(port))
    except AnymodalError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
