"""Take assets out of the store by id, file or folder."""

from __future__ import annotations

from pathlib import Path

from search.store.base import VectorStore
from workers.jobs import release


def remove(store: VectorStore, target: str) -> int:
    """Remove an asset id, a file or all that lies in a folder; how many assets it touched."""
    if known := list(store.assets([target])):
        store.delete(known)
        return len(known)
    uri = str(Path(target).expanduser().absolute())
    # A folder may be gone from the disk, so the store is asked and not the disk.
    inside = [
        location
        for row in store.scan()
        for location in row.locations
        if location == uri or location.startswith(uri.rstrip("/") + "/")
    ]
    return release(store, dict.fromkeys(inside))
