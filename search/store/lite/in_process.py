"""Milvus Lite inside this process, one database per folder, shared by all users in the process.

Why not ``MilvusClient("x.db")``: that starts Lite with ten worker threads, and concurrent writers
then lose acknowledged rows if the process is killed. One call at a time loses none.
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
from search.store.lite.client import LiteClient, without_pandas
from search.store.lite.read_only import unreadable

_HOLDER = "holder.pid"
_NOBODY = 2**30  # above the largest process id
_STOP_S = 5
_MESSAGE_BYTES = 2**28


@dataclass
class _Running:
    database: Any
    client: LiteClient
    pid: int
    server: Any = None
    """Of `serve_lite`."""
    users: int = 0
    spoilt: DiskError | None = None


_running: dict[Path, _Running] = {}
on_spoilt: Callable[[], object] = bool
"""Called when the disk refused a write in this process; see `search.store.lite.shared`."""
_lock = Lock()


def start_lite(folder: Path) -> LiteClient:
    """Open this folder, or join who has opened it here. Call `stop_lite` once for each.

    Raises:
        StoreBusyError: another process holds the folder.
        DiskError: it cannot be written.
        StoreError: the folder cannot be used.
    """
    folder = folder.absolute()
    with _lock:
        running = _running.get(folder)
        # After a fork the parent's database is listed here but is not open here.
        if running is None or running.pid != os.getpid():
            running = _running[folder] = _start(folder)
        running.users += 1
        return running.client


def opened_lite(folder: Path) -> LiteClient | None:
    """This folder, if it is open in this process."""
    running = _running.get(folder.absolute())
    return running.client if running and running.pid == os.getpid() else None


def serve_lite(folder: Path, port: int = 0) -> str:
    """Open this folder for other processes, too; return the address. See `start_lite`."""
    # Otherwise gRPC's core reports each closed connection on stderr; it reads this on import.
    set_for_library("GRPC_VERBOSITY", "ERROR")
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from milvus_lite.adapter.grpc.servicer import MilvusServicer
    from pymilvus.grpc_gen import milvus_pb2_grpc

    start_lite(folder)
    running = _running[folder.absolute()]
    limits = [(f"grpc.max_{way}_message_length", _MESSAGE_BYTES) for way in ("receive", "send")]
    running.server = grpc.server(ThreadPoolExecutor(1), options=limits)
    servicer = MilvusServicer(running.database)
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, running.server)
    bound = running.server.add_insecure_port(f"127.0.0.1:{port}")
    running.server.start()
    return f"http://127.0.0.1:{bound}"


def stop_lite(folder: Path) -> None:
    """Leave this folder; the last one closes and frees it."""
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
    """Raise the `DiskError` by which this folder's database was spoilt, if it was."""
    running = _running.get(folder.absolute())
    if running and running.spoilt:
        raise DiskError(running.spoilt.problem, "Free some space there and restart this program.")


def refuse_requests(folder: Path) -> None:
    """Make the server of this folder begin no further request, and end those that it has begun.

    For the process that shares it: a spoilt server reads less than its log holds.
    """
    if running := _running.get(folder.absolute()):
        running.server.stop(grace=_STOP_S)


def _start(folder: Path) -> _Running:
    try:
        _check_folder(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    with suppress(OSError):  # the server will report it
        private_folder(folder)
    tighten(folder)
    from milvus_lite import MilvusLite
    from milvus_lite.exceptions import DataDirLockedError

    without_pandas()
    _hush()
    try:
        database = MilvusLite(str(folder))
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
    client = LiteClient(database, _note, str(folder))
    return _Running(database, client, os.getpid())


def _hush() -> None:
    """Print no traceback of errors that the caller gets as well, but look at them."""
    logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
    logger = logging.getLogger("milvus_lite.adapter.grpc.servicer")
    logger.setLevel(logging.ERROR)
    logger.addFilter(_look_at)  # the same one is added once


def _look_at(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1]:
        _note(record.exc_info[1])
    return False


def _note(error: BaseException) -> None:
    """Note that the disk refused a write, if it did.

    Lite then holds less in memory than its log does, and would remove that log after its next
    successful write. So nothing more is written, and it is not closed: the next process to open
    it reads the log, as after a kill.
    """
    for folder, running in list(_running.items()):
        if refused := disk_error(error, f"The store {folder}"):
            running.spoilt = running.spoilt or refused
            on_spoilt()


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
    if running.server:
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
