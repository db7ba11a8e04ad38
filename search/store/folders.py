"""Where stores keep their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from encoder.system.environment import data_folder
from encoder.system.mounts import network_filesystem
from search.errors import StoreError

CONTENT = "content"
"""In the folder of a store, the folder of its files."""
DATABASE, VECTORS, LOCK = "store.db", "vectors", "write.lock"
"""In there."""
RECORD = "current.json"
"""Beside them, what says in which lanes the store is searched."""
_BESIDE = {"locks", "uploads", RECORD, ".restoring"}
"""What others may have put into the folder before the first write."""


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """The descriptor of a file or a folder; a file that is created is for this user alone."""
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def locks_folder(server: str, collection: str) -> Path:
    """Where processes of this user lock what they write to a server's collection."""
    name = hashlib.sha256(f"{server}/{collection}".encode()).hexdigest()[:16]
    return default_folder().parent / "locks" / name


def default_folder() -> Path:
    """``store`` in the data folder."""
    return data_folder() / "store"


def check_place(folder: Path) -> None:
    """Refuse network disks, and to spread a store over somebody's files."""
    remedy = "Choose a new or empty folder, or an existing store."
    if filesystem := network_filesystem(folder):
        raise StoreError(
            f"{folder} is on a network disk ({filesystem}), where locks and maps are unreliable.",
            remedy="Choose a folder on a disk of this machine, or a Milvus server.",
        )
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file, but no store.", remedy=remedy)
    if folder.is_dir() and not (folder / CONTENT).is_dir():
        other_names = {path.name for path in folder.iterdir()} - _BESIDE
        if other_names:
            first_names = ", ".join(sorted(other_names)[:3])
            raise StoreError(
                f"{folder} holds other files ({first_names}), but no store.", remedy=remedy
            )
