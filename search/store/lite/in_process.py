"""Milvus Lite inside this process, one server per folder, shared by all users in the process.

Why not ``MilvusClient("x.db")``: that starts Lite with ten worker threads, and concurrent writers
then lose acknowledged rows if the process is killed. One worker thread loses none.
It also hides the reason when the folder is locked.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from encoder.errors import DiskError
from encoder.system.disk import disk_error
from encoder.system.environment import set_for_library
from encoder.system.private import private_folder, tighten
from search.errors import StoreBusyError, StoreError
from search.store.lite.read_only import unreadable

_HOLDER = "holder.pid"
_NOBODY = 2**30  # above the largest process id
_STOP_S = 5


@dataclass
class _Running:
    server: Any
    database: Any
    port: int
    pid: int
    users: int = 0
    spoilt: DiskError | None = None


_running: dict[Path, _Running] = {}
on_spoilt: Callable[[], object] = bool
"""Called when the disk refused a write of a server in this process; see `shared_lite`."""
_lock = Lock()


def start_lite(folder: Path, port: int = 0) -> str:
    """Start or join the server of this folder; return its address. Call `stop_lite` once for each.

    Raises:
        StoreBusyError: another process holds the folder.
        DiskError: it cannot be written.
        StoreError: the folder cannot be used.
    """
    folder = folder.absolute()
    with _lock:
        running = _running.get(folder)
        # After a fork the parent's server is listed here but does not run here.
        if running is None or running.pid != os.getpid():
            running = _running[folder] = _start(folder, port)
        running.users += 1
        return f"http://127.0.0.1:{running.port}"


def stop_lite(folder: Path) -> None:
    """Leave the server of this folder; the last one stops it and frees the folder."""
    folder = folder.absolute()
    with _lock:
        running = _running.get(folder)
        if running is None or running.pid != os.getpid():
            return
        running.users -= 1
        if running.users <= 0:
            del _running[folder]
            _stop(folder, running)


def check_whole(folder: Path) -> None:
    """Raise the `DiskError` by which this folder's server was spoilt, if one was."""
    running = _running.get(folder.absolute())
    if running and running.spoilt:
        raise DiskError(running.spoilt.problem, "Free some space there and restart this program.")


def refuse_requests(folder: Path) -> None:
    """Make the server of this folder begin no further request, and end those that it has begun.

    For the process that shares it: a spoilt server reads less than its log holds.
    """
    if running := _running.get(folder.absolute()):
        running.server.stop(grace=_STOP_S)


def _start(folder: Path, port: int) -> _Running:
    try:
        _check_folder(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    with suppress(OSError):  # the server will report it
        private_folder(folder)
    tighten(folder)
    # Otherwise gRPC's core reports each closed connection on stderr; it reads this on import.
    set_for_library("GRPC_VERBOSITY", "ERROR")
    from milvus_lite.adapter.grpc.server import start_server_in_thread
    from milvus_lite.exceptions import DataDirLockedError

    _hush()
    try:
        server, database, bound = start_server_in_thread(str(folder), port=port, max_workers=1)
        (folder / _HOLDER).write_text(str(os.getpid()))
    except DataDirLockedError as error:
        raise StoreBusyError(
            f"The store {folder} is in use by {_holder(folder)}.",
            remedy="Wait until it ends; or run `anymodal up` first, which shares the folder; or "
            "run a Milvus server and use --store http://HOST:19530, which serves many machines.",
        ) from error
    except OSError as error:
        if refused := disk_error(error, f"The store {folder}"):
            raise refused from error
        raise StoreError(
            f"The store {folder} cannot be opened: {error}.", remedy="Choose another --store."
        ) from error
    return _Running(server, database, bound, os.getpid())


def _hush() -> None:
    """Print no traceback of errors that the caller gets as well, but look at them."""
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    logger = logging.getLogger("milvus_lite.adapter.grpc.servicer")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_look_at)  # the same one is added once


def _look_at(record: logging.LogRecord) -> bool:
    """Note that the disk refused a write.

    Lite then holds less in memory than its log does, and would remove that log after its next
    successful write. So nothing more is written, and it is not closed: the next process to open
    it reads the log, as after a kill.
    """
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return False
    for folder, running in list(_running.items()):
        if refused := disk_error(error, f"The store {folder}"):
            running.spoilt = running.spoilt or refused
            on_spoilt()
    return False


def _check_folder(folder: Path) -> None:
    """Refuse to spread a database over somebody's files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreError(
            f"The store {folder} is a file; a store is a folder.",
            remedy="Choose a new or empty folder, or an existing store.",
        )
    if not (folder / "LOCK").exists() and any(folder.iterdir()):
        raise StoreError(
            f"The folder {folder} holds other files, but no store.",
            remedy="Choose a new or empty folder, or an existing store.",
        )


def _holder(folder: Path) -> str:
    """Who holds the folder, as far as it is known."""
    pid = _holder_pid(folder)
    try:
        os.kill(pid, 0)
    except OSError:
        return "another process"
    return "this process's parent" if pid == os.getppid() else f"process {pid}"


def _holder_pid(folder: Path) -> int:
    """The last process that opened the folder and did not close it; else an impossible id."""
    try:
        return int((folder / _HOLDER).read_text())
    except (OSError, ValueError):
        return _NOBODY


def _stop(folder: Path, running: _Running) -> None:
    running.server.stop(grace=_STOP_S).wait()
    if running.spoilt:
        running.database._collections.clear()  # close then only frees the lock
    running.database.close()
    if _holder_pid(folder) == os.getpid():
        (folder / _HOLDER).unlink()


@atexit.register
def _stop_all() -> None:
    with _lock:
        for folder, running in _running.items():
            if running.pid == os.getpid():
                _stop(folder, running)
        _running.clear()
