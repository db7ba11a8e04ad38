"""Folders, files and sockets that are their owner's alone, whatever the user's umask."""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private() -> None:
    """Make everything that this process and its children create private to its user.

    For programs: a library leaves the umask of its host alone.
    """
    os.umask(_OTHERS)


def private_folder(path: Path) -> Path:
    """Make a folder and any missing parents; `Path.mkdir` would leave the parents open."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    return path


def private_opener(path: str, flags: int) -> int:
    """For `open`: the file is its owner's alone."""
    return os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)


def is_own(peer: socket.socket) -> bool:
    """Whether this user runs the other end of a Unix socket; else it is for the file's mode to say.

    Without SO_PEERCRED, as on macOS, it is always True.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return bool(user == os.getuid())


def tighten(folder: Path) -> None:
    """Close a folder and all in it to others; what belongs to another user stays as it is.

    Links are left alone, and so is what disappears meanwhile.
    """
    _close(folder)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _close(Path(root, name))


def _close(path: Path) -> None:
    with suppress(OSError):
        mode = path.lstat().st_mode
        if mode & _OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
