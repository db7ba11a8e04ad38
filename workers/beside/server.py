"""Listen where the commands of this user look for a server of their store."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from encoder.system.private import private_folder
from workers.beside.place import short_name, socket_path

logger = logging.getLogger(__name__)


@contextmanager
def own_sockets(uri: str | None) -> Iterator[list[socket.socket]]:
    """A listening socket for the store at ``uri``, to which only this user can connect.

    It replaces that of a server that was killed, or of an earlier one, and its file is gone after
    the block. There is none for a store in memory, or in a folder that cannot be written to.
    """
    listener = socket.socket(socket.AF_UNIX)
    path = socket_path(uri)
    with listener:
        try:
            inode = _listen(listener, path) if path else None
        except OSError as error:
            logger.warning("searches by commands cannot use this server: %s", error)
            path = None
        try:
            yield [listener] if path else []
        finally:
            with suppress(FileNotFoundError):
                if path and path.stat().st_ino == inode:  # not the socket of a later server
                    path.unlink()


def _listen(listener: socket.socket, path: Path) -> int:
    private_folder(path.parent)
    path.unlink(missing_ok=True)
    with short_name(path) as name:
        listener.bind(name)
    path.chmod(0o600)  # nobody can connect before it listens
    listener.listen()
    return path.stat().st_ino
