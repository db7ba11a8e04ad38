"""Milvus Lite by its address, a FILE.db: what it needs beyond a server.

pymilvus opens it in this process, which keeps all others out until the last client here is closed.
"""

from __future__ import annotations

import fcntl
import logging
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, RLock

from encoder.system.extras import install_command
from encoder.system.private import private_folder, tighten
from search.errors import StoreBusyError, StoreError
from search.store.folders import opened

_SUFFIX = ".db"
_LOCK = "LOCK"
WRITES = ("insert", "upsert", "delete")


@dataclass
class LiteFile:
    """One that is open in this process.

    ``writing`` is held by each call that writes: of rows that several threads write at once, Lite
    loses some if the process is killed.
    """

    pid: int = field(default_factory=os.getpid)
    n_users: int = 0
    writing: RLock = field(default_factory=RLock)


_opened: dict[Path, LiteFile] = {}
_opening = Lock()


def is_file(address: str) -> bool:
    """Whether an address is one of Milvus Lite, as pymilvus decides it.

    >>> is_file("/photos/index.db"), is_file("http://localhost:19530")
    (True, False)
    """
    return address.endswith(_SUFFIX) and "://" not in address


def joined(file: Path) -> LiteFile:
    """Prepare to open it, or join who has opened it here; call `left` once for each.

    Raises:
        StoreError: it is something else, or Milvus Lite is not installed.
        StoreBusyError: another process holds it.
    """
    if find_spec("milvus_lite") is None:
        raise StoreError(
            f"The store {file} is a file of Milvus Lite, which is not installed.",
            remedy=f"{install_command('lite')}, or choose a folder as --store.",
        )
    with _opening:
        opened = _opened.get(file)
        if opened is None or opened.pid != os.getpid():
            _check(file)
            tighten(private_folder(file))
            # It logs a traceback of errors that the caller gets as well.
            logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
            opened = _opened[file] = LiteFile()
        opened.n_users += 1
        return opened


def left(file: Path) -> None:
    """Leave it; the last one closes it and lets other processes in."""
    from milvus_lite.server_manager import server_manager_instance

    with _opening:
        opened = _opened[file]
        opened.n_users -= 1
        if not opened.n_users:
            del _opened[file]
            server_manager_instance.release_server(str(file))


def _check(file: Path) -> None:
    """Refuse to spread a database over somebody's files, or to open one that is held."""
    remedy = "Choose a new FILE.db, or an existing store."
    if file.exists() and not file.is_dir():
        raise StoreError(f"{file} is no store, but a file of another program.", remedy=remedy)
    if file.exists() and not (file / _LOCK).exists() and any(file.iterdir()):
        raise StoreError(f"{file} is a folder of other files, but no store.", remedy=remedy)
    try:
        with opened(file / _LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError as error:
        raise StoreBusyError(
            f"The store {file} is in use by another process: Milvus Lite admits one.",
            remedy="Wait until it ends; or choose a folder as --store, which several processes "
            "may use, or a Milvus server (--store http://HOST:19530).",
        ) from error
