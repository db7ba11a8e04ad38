"""Adopt uploads that a store shows but that are in another store's folder.

The folder of a store goes by its address, so one that moved, or whose server has another name now,
finds its uploads elsewhere. It takes them as hard links, and records their new locations in its
commit rows. Every step can be repeated: a process that is killed leaves locations that can be read,
old or new, and the next start continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from encoder.system.batched import in_batches
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import AssetRow
from search.uploads.folder import UploadFolder

_DONE = ".adopted"
_AT_ONCE = 200


def adopt(uploads: UploadFolder, store: VectorStore) -> None:
    """Take the files that the store shows, once; the next start does nothing.

    Raises:
        StoreError: the rows cannot be read or written; the next start continues.
    """
    if not uploads.root.is_dir() or (uploads.folder / _DONE).exists():
        return
    uploads.make()
    with FileLock(uploads.folder / ".adopting", mode=0o600):
        in_uploads = Compare("path", Operator.PREFIX, f"{uploads.root}/")
        for rows in in_batches(store.scan(in_uploads), _AT_ONCE):
            _adopt_rows(rows, uploads, store)
        (uploads.folder / _DONE).touch(mode=0o600)


def _adopt_rows(rows: Sequence[AssetRow], uploads: UploadFolder, store: VectorStore) -> None:
    """Create links, then the rows that name them."""
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
