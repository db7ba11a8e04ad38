"""A copy of a store in a folder, while it is searched."""

from __future__ import annotations

import shutil
from pathlib import Path

from encoder.errors import InputError
from encoder.system.disk import disk_error_in, writing
from search.errors import StoreMovedError
from search.store.base import VectorStore
from search.store.folder.database import sync_folder
from search.store.folder.store import FolderStore
from search.store.folders import CONTENT
from search.store.milvus.link import without_password
from search.store.open import store_target
from search.store.space_record import FolderRecord

_ROOTS = "roots"
_UNFINISHED = ".unfinished"
"""Of a copy; one that is not whole is no store, since it has its content last."""


def folder_of(uri: str | None) -> Path:
    """The folder of the store at a URI.

    Raises:
        InputError: it is in none.
    """
    target = "memory:" if uri == "memory:" else store_target(uri)
    if not isinstance(target, Path):
        wanted = "a folder; `anymodal store export` saves any other store"
        raise InputError("store", got=without_password(target), wanted=wanted)
    return target


def back_up(source: Path, store: VectorStore, folder: Path) -> int:
    """Copy a store to a folder, with all that its lanes hold.

    Args:
        source: the store's own folder.
        store: opened there.
        folder: a new or empty one.

    Returns:
        The number of assets in the copy.

    Raises:
        InputError: the folder holds something, or is in the store's own.
        DiskError: it cannot be written to.
        StoreMovedError: the store was moved to another model meanwhile.
        StoreBusyError: another holds the store for too long.
    """
    folder = folder.absolute()
    is_free = not any(folder.iterdir()) if folder.is_dir() else not folder.exists()
    if not is_free or folder.resolve().is_relative_to(source.resolve()):
        wanted = "a new or empty folder, outside the store"
        raise InputError("folder", got=str(folder), wanted=wanted)
    assert isinstance(store, FolderStore)
    copy = folder / _UNFINISHED
    try:
        with writing(folder):
            current = FolderRecord(source).read()
            n_assets = store.backup(copy)
            if (source / _ROOTS).is_dir():
                shutil.copytree(source / _ROOTS, copy / _ROOTS)
            if current != FolderRecord(source).read():
                raise StoreMovedError(f"The store {source} was moved.", "Run the command again.")
            if current:
                FolderRecord(copy).write(current)
            for path in sorted(copy.iterdir(), key=lambda path: path.name == CONTENT):
                path.replace(folder / path.name)
            sync_folder(folder)
    except shutil.Error as error:  # has the reasons of several files, as texts
        raise disk_error_in(str(error), folder) or error from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return n_assets
