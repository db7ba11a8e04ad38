"""A copy of a store in a folder, while it is searched."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from encoder.errors import InputError
from encoder.system.disk import disk_error_in, writing
from encoder.types import Modality
from search.errors import StoreMovedError
from search.store.base import VectorStore
from search.store.folder.database import sync_folder
from search.store.folder.store import FolderStore
from search.store.folders import SPACES
from search.store.laned import LanedStore
from search.store.milvus.link import without_password
from search.store.open import store_target
from search.store.space_record import FolderRecord, SearchedSpace

_ROOTS = "roots"
_UNFINISHED = ".unfinished"
"""Of a copy; one that is not whole is no store, since it has its spaces last."""


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
    """Copy a store to a folder, without former models and moves that are not finished.

    Those who write to a store of several lanes wait meanwhile.

    Args:
        source: the store's own folder.
        store: opened there.
        folder: a new or empty one.

    Returns:
        The number of assets in the copy.

    Raises:
        InputError: the folder holds something, or is in the store's own.
        DiskError: it cannot be written to.
        StoreMovedError: the store was moved to another model since it was opened.
        StoreBusyError: another holds the store for too long.
    """
    folder = folder.absolute()
    is_free = not any(folder.iterdir()) if folder.is_dir() else not folder.exists()
    if not is_free or folder.resolve().is_relative_to(source.resolve()):
        wanted = "a new or empty folder, outside the store"
        raise InputError("folder", got=str(folder), wanted=wanted)
    copy = folder / _UNFINISHED
    try:
        # All who write hold a lock of these, so that lanes fit together.
        with writing(folder), store.locks.whole() if len(store.spaces) > 1 else nullcontext():
            current, n_assets = _current(source, store), store.count()
            for part in _parts(store, current):
                part.backup(copy)
            if (source / _ROOTS).is_dir():
                shutil.copytree(source / _ROOTS, copy / _ROOTS)
        if current:
            FolderRecord(copy).write(current)
        with writing(folder):
            for path in sorted(copy.iterdir(), key=lambda path: path.name == SPACES):
                path.replace(folder / path.name)
            sync_folder(folder)
    except shutil.Error as error:  # has the reasons of several files, as texts
        raise disk_error_in(str(error), folder) or error from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return n_assets


def _current(source: Path, store: VectorStore) -> SearchedSpace | None:
    """What the copy says it is searched with."""
    current = FolderRecord(source).read()
    if current and current.spaces != store.spaces:
        raise StoreMovedError(f"The store {source} was moved.", "Run the command again.")
    return replace(current, former=None, filling="") if current else None


def _parts(store: VectorStore, current: SearchedSpace | None) -> list[FolderStore]:
    """The store, or those of its lanes, each of one space."""
    stores = [store]
    if isinstance(store, LanedStore) and current:
        stores = [store.home, *(store.of(Modality(name)) for name in current.lanes)]
    unique = {id(each): each for each in stores}.values()
    return [each for each in unique if isinstance(each, FolderStore)]
