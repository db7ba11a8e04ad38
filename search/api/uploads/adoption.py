"""Adopt uploads that a store shows but that are in a different folder.

Formerly all stores shared one folder, so a file deleted in one was gone from the others. A store
that is served takes the files that it shows as hard links, and records their new locations in its
commit rows. Every step can be repeated: a process that is killed leaves locations that can be read,
old or new, and the next start continues.

Files in the shared folder stay there for `KEPT_S` after they were first taken, for stores that are
opened later; a store that is opened even later takes them from the other stores.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from encoder.system.batched import in_batches
from encoder.system.private import tighten
from search.api.uploads.folder import UploadFolder, homes_in
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import AssetRow

KEPT_S = 30 * 86_400

_DONE = ".adopted"
_TAKEN = ".taken"
_AT_ONCE = 200

T = TypeVar("T")


def adopt(uploads: UploadFolder, store: VectorStore, *, unfinished: bool) -> None:
    """Take the files that the store shows, once; the next start does nothing.

    Args:
        uploads: the store's.
        store: whose rows name the files.
        unfinished: also take files that no store has taken and this one does not show: they were
            uploaded, but not ingested before the process ended.

    Raises:
        StoreError: the rows cannot be read or written; the next start continues.
    """
    if not uploads.root.is_dir() or (uploads.folder / _DONE).exists():
        return
    uploads.make()
    tighten(uploads.root)  # which earlier versions left open to all users
    with FileLock(uploads.folder / ".adopting", mode=0o600):
        for rows in in_batches(
            store.scan(Compare("path", Operator.PREFIX, f"{uploads.root}/")), _AT_ONCE
        ):
            _adopt_rows(rows, uploads, store)
        if unfinished:
            for homes in in_batches(homes_in(uploads.root), _AT_ONCE):
                _adopt_unfinished(homes, uploads, store)
        (uploads.folder / _DONE).touch(mode=0o600)


def sweep(root: Path) -> None:
    """Remove files from the folder that all stores shared if they were taken long ago."""
    for note in root.glob(f"[0-9a-f][0-9a-f]/*/{_TAKEN}"):
        if note.stat().st_mtime < time.time() - KEPT_S:
            shutil.rmtree(note.parent, ignore_errors=True)


def _adopt_rows(rows: Sequence[AssetRow], uploads: UploadFolder, store: VectorStore) -> None:
    """Create links, then the rows that name them, then the note that the old place was taken."""
    ids = [row.asset_id for row in rows]
    with exclusive(store, ids):
        rows = list(store.assets(ids).values())
        places = {
            uri: place
            for row in rows
            for uri in row.locations
            if (place := _adopted(uri, uploads)) is not None
        }
        moved = [
            replace(row, locations=list(dict.fromkeys(places.get(x, x) for x in row.locations)))
            for row in rows
            if not places.keys().isdisjoint(row.locations)
        ]
        if moved:
            store.write(moved, [])
    for uri in places:
        _note_taken(Path(uri).parent, uploads)


def _adopted(uri: str, uploads: UploadFolder) -> str | None:
    """The new path of an upload taken from another folder; None for any other file."""
    asset_id = uploads.owner_of(uri)
    if asset_id is None or uploads.holds(uri):
        return None
    former = Path(uri)
    for home in (former.parent, *uploads.homes_of(asset_id)):
        if home.is_dir() and (files := uploads.take(home)):
            names = {path.name: path for path in files}
            return str(names.get(former.name, files[0]))
    return None


def _adopt_unfinished(homes: Sequence[Path], uploads: UploadFolder, store: VectorStore) -> None:
    stored = store.assets([home.name for home in homes])
    for home in homes:
        if home.name not in stored and not (home / _TAKEN).exists():
            uploads.take(home)
            _note_taken(home, uploads)


def _note_taken(home: Path, uploads: UploadFolder) -> None:
    """Note when files were first taken from the shared folder, the only one that is swept."""
    note = home / _TAKEN
    if home.parent.parent == uploads.root and home.is_dir() and not note.exists():
        note.touch(mode=0o600)
