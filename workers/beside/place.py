"""The socket on which a server of this user listens for commands on a store."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from search.store.folders import default_folder
from search.store.open import store_name, store_target

_NAME = "commands.sock"


def socket_path(uri: str | None) -> Path | None:
    """In the store's folder, or in the data folder for a store on a server; None for ``memory:``.

    Only the file's owner may connect.
    """
    if uri == "memory:":
        return None
    target = store_target(uri)
    if isinstance(target, Path):
        return target / _NAME
    key = hashlib.sha256(store_name(uri).encode()).hexdigest()[:16]
    return default_folder().parent / f"{key}-{_NAME}"


def attach(call: Callable[[str], None], path: Path) -> None:
    """Bind or connect, however long the path is: the system allows only 107 bytes."""
    with _short(path) as name:
        call(name)


def is_mine(peer: socket.socket) -> bool:
    """Whether this user runs the other end; without SO_PEERCRED the file's owner decides."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


@contextmanager
def _short(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
