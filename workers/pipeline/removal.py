"""Take assets out of the store by id, file or folder."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from search.api.uploads import UploadFolder
from search.filters import Compare, Operator
from search.store.base import VectorStore
from workers.pipeline.ingest_job import in_chunks, release

_AT_ONCE = 500


def remove(store: VectorStore, target: str, uploads: UploadFolder | None = None) -> int:
    """Remove an asset id, a file or all that lies in a folder; how many assets it touched.

    Files stay on the disk, except those of ``uploads``, which would come back at the next start
    of a server.
    """
    if known := list(store.assets([target])):
        store.delete(known)
        if uploads:
            uploads.remove(target)
        return len(known)
    uri = str(Path(target).expanduser().absolute())
    below = uri.rstrip("/") + "/"
    # A folder may be gone from the disk, so the store is asked and not the disk: by the location,
    # and by the folder, which both have keys there.
    at_it = store.assets_at([uri]).get(uri, [])
    within = store.scan(Compare("path", Operator.PREFIX, below))
    touched = 0
    for rows in in_chunks(chain(at_it, within), _AT_ONCE):
        found = [x for row in rows for x in row.locations if x == uri or x.startswith(below)]
        touched += release(store, dict.fromkeys(found))
        if uploads:
            _remove_uploads(uploads, found)
    return touched


def _remove_uploads(uploads: UploadFolder, locations: Iterable[str]) -> None:
    for location in filter(uploads.holds, locations):
        uploads.remove(str(uploads.owner_of(location)))
