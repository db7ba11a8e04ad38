"""Copy a store in a folder while others write to it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from encoder.system.private import private_folder
from search.errors import StoreUnavailableError
from search.store.folder.counter import write_counter
from search.store.folder.database import Database, sync_folder
from search.store.folders import DATABASE, VECTORS

_TRIES = 3


def copy_content(database: Database, source: Path, target: Path) -> int:
    """Copy database and vectors to a new folder, as of one moment; return the number of assets.

    Raises:
        StoreUnavailableError: rows moved while they were copied, again and again.
    """
    for _ in range(_TRIES):
        shutil.rmtree(target, ignore_errors=True)
        private_folder(target / VECTORS)
        version = database.backup(target / DATABASE)
        copy = Database(target / DATABASE)
        try:
            with copy.reading() as db:
                part_nos = [part_no for (part_no,) in db.execute("SELECT part FROM part")]
                sql = "SELECT count(*) FROM asset WHERE row IS NOT NULL"
                n_assets: int = db.execute(sql).fetchone()[0]
        finally:
            copy.close()
        with suppress(FileNotFoundError):  # rows were moved to other files meanwhile
            for name in [f"{part_no}{end}" for part_no in part_nos for end in (".rows", ".slots")]:
                shutil.copyfile(source / VECTORS / name, target / VECTORS / name)
            write_counter(target / DATABASE, version)
            sync_folder(target)
            return n_assets
    raise StoreUnavailableError(
        f"The rows of the store {database.shown} are being moved.", "Copy it again later."
    )
