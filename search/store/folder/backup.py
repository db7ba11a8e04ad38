"""Copy a space of a folder while others write to it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from encoder.system.private import private_folder
from search.errors import StoreUnavailableError
from search.store.folder.counter import write_counter
from search.store.folder.database import Database, sync_folder
from search.store.folders import DATABASE, LOCK, VECTORS

_TRIES = 3


def copy_space(database: Database, source: Path, target: Path) -> None:
    """Copy database and vectors to a new folder, as of one moment.

    Raises:
        StoreUnavailableError: rows moved while they were copied, again and again.
    """
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        private_folder(target / VECTORS)
        version = database.backup(target / DATABASE)
        with suppress(FileNotFoundError):  # rows were moved to other files meanwhile
            _copy_vectors(source, target)
            write_counter(target / DATABASE, version)
            shutil.copy2(source / LOCK, target / LOCK)  # as old: see `FolderRecord`
            sync_folder(target)
            return
    raise StoreUnavailableError(
        f"The rows of the store {database.shown} are being moved.", "Copy it again later."
    )


def _copy_vectors(source: Path, target: Path) -> None:
    copy = Database(target / DATABASE)
    try:
        with copy.reading() as db:
            part_nos = [part_no for (part_no,) in db.execute("SELECT part FROM part")]
    finally:
        copy.close()
    for part_no in part_nos:
        for suffix in (".rows", ".slots"):
            name = f"{part_no}{suffix}"
            shutil.copyfile(source / VECTORS / name, target / VECTORS / name)
