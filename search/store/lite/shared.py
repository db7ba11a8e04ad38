"""One Milvus Lite for several processes on this machine: a server, and how to find it.

The server's address is stored in the store's folder, so that other processes find it. It
listens on the loopback device only, and knows no passwords: everyone on this machine may read it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from encoder.errors import AnymodalError
from encoder.system.disk import writing

_ADDRESS = "server.json"


@dataclass(frozen=True)
class Served:
    """Who serves a folder, and where."""

    uri: str
    pid: int


def served(folder: Path) -> Served | None:
    """The server of this folder, if one runs on this machine."""
    try:
        found = Served(**json.loads((folder / _ADDRESS).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    try:
        os.kill(found.pid, 0)
    except PermissionError:  # it runs, and is another user's
        return found
    except OSError:
        return None
    return found


def joined(folder: Path) -> tuple[str, bool]:
    """The address of a server of this folder, and whether it runs in this process; see `stop_lite`.

    Raises:
        StoreBusyError: another process holds the folder and does not share it.
        DiskError: it cannot be written.
        StoreError: the folder cannot be used.
    """
    from search.store.lite.in_process import start_lite

    server = served(folder)
    return (server.uri, False) if server else (start_lite(folder), True)


def serve(folder: Path, port: int = 0) -> None:
    """Serve a folder until SIGTERM or SIGINT; for the main thread of its own process.

    Also ends when the disk refuses a write, after which Milvus Lite has to be opened again.

    Raises:
        StoreBusyError: another process holds the folder.
        DiskError: it cannot be written.
        StoreError: the folder cannot be used.
    """
    from search.store.lite import in_process as lite

    ended = Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: ended.set())

    def end() -> None:
        lite.refuse_requests(folder)
        ended.set()

    lite.on_spoilt = end  # the next start reads its log
    uri = lite.start_lite(folder, port)
    address = folder / _ADDRESS
    partial = address.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(Served(uri, os.getpid()))))
    partial.replace(address)  # whole or not at all
    try:
        ended.wait()
    finally:
        address.unlink(missing_ok=True)
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
