"""Copy a store in a folder while it is searched, and put such a copy in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from encoder.errors import InputError
from encoder.system.disk import disk_error_in, writing
from encoder.system.private import private_folder
from search.errors import StoreError, StoreMissingError, StoreMovedError
from search.store.base import VectorStore
from search.store.checking import MEANING
from search.store.folder.database import sync_folder
from search.store.folder.store import FolderStore
from search.store.folders import CONTENT, LOCK, RECORD, check_place, opened
from search.store.locks import lock_file
from search.store.milvus.link import without_password
from search.store.open import store_target
from search.store.space_record import FolderRecord
from search.store.stored_spaces import open_recorded

_ROOTS = "roots"
_UNFINISHED = ".unfinished"
"""Of a copy; one that is not whole is no store, since it has its content last."""
_RESTORING, _FORMER = ".restoring", "former"
"""In a store's folder, what will be the store; in there, what was."""


def folder_of(uri: str | None) -> Path:
    """The folder of the store at a URI.

    Raises:
        InputError: it is in none.
    """
    target = "memory:" if uri == "memory:" else store_target(uri)
    if not isinstance(target, Path):
        expected = "a folder; `anymodal store export` saves any other store"
        raise InputError("store", got=without_password(target), wanted=expected)
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
        expected = "a new or empty folder, outside the store"
        raise InputError("folder", got=str(folder), wanted=expected)
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


def restore(backup: Path, folder: Path, progress: Callable[[int, int], object]) -> int:
    """Put a copy that `back_up` made in the place of a store, or where there is none.

    It is copied beside the store and checked there; only then do the two change places. Those who
    have the former store open still read it, and write nothing more.

    Args:
        backup: stays as it is.
        folder: the store's own.

    Returns:
        The number of assets.

    Raises:
        InputError: the backup is no store, or one of the folders is in the other.
        StoreError: the backup is damaged, or the folder holds other files.
        DiskError: the folder cannot be written to.
        StoreBusyError: another holds the store for too long.
    """
    backup, folder = backup.resolve(), folder.resolve()
    if backup.is_relative_to(folder) or folder.is_relative_to(backup):
        raise InputError("FOLDER", got=str(backup), wanted=f"a folder apart from {folder}")
    if not (folder / RECORD).exists():  # nor may it be readable: what is damaged is restored, too
        check_place(folder)
    copy = folder / _RESTORING
    with writing(folder):
        private_folder(folder)
        _undo(copy, folder)
        try:
            n_assets = _copy_checked(backup, copy, progress)
            _swap(copy, folder)
        finally:
            _undo(copy, folder)
    return n_assets


def _copy_checked(backup: Path, copy: Path, progress: Callable[[int, int], object]) -> int:
    try:
        with closing(open_recorded(str(backup))) as store:
            n_assets = back_up(backup, store, copy)
    except StoreMissingError as error:
        expected = "a folder that `anymodal store backup` made"
        raise InputError("FOLDER", got=str(backup), wanted=expected) from error
    with closing(open_recorded(str(copy))) as store:
        assert isinstance(store, FolderStore)
        wrong = store.check(progress).wrong
    if wrong:
        problems = ", ".join(f"{len(of)} {MEANING[name]}" for name, of in wrong.items())
        remedy = f"Take another one. What `anymodal store check --store {backup} --repair` leaves "
        raise StoreError(
            f"The backup {backup} is damaged: {problems}. The store is as it was.",
            remedy=remedy + "of it can be restored.",
        )
    return n_assets


def _swap(copy: Path, folder: Path) -> None:
    """Exchange two stores while nobody writes to the former one."""
    with ExitStack() as stack:
        if (folder / CONTENT).is_dir():
            file = stack.enter_context(opened(folder / CONTENT / LOCK, os.O_RDWR | os.O_CREAT))
            lock_file(file, f"The store {folder}")
        (copy / _FORMER).mkdir()
        for name in (_ROOTS, CONTENT):
            if (folder / name).exists():
                (folder / name).replace(copy / _FORMER / name)
            if (copy / name).exists():
                (copy / name).replace(folder / name)
        (copy / RECORD).replace(folder / RECORD)
        sync_folder(folder)


def _undo(copy: Path, folder: Path) -> None:
    """Remove what a restore left, and put back what it took and did not replace."""
    if (copy / _FORMER / CONTENT).exists() and not (folder / CONTENT).exists():
        for name in (_ROOTS, CONTENT):
            if (copy / _FORMER / name).exists():
                shutil.rmtree(folder / name, ignore_errors=True)
                (copy / _FORMER / name).replace(folder / name)
    shutil.rmtree(copy, ignore_errors=True)
