"""Take assets out of the store by id, file or folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from ingest.sources.objects import whole_path
from search.api.uploads import UploadFolder
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from workers.pipeline.ingest_job import in_chunks
from workers.pipeline.library.leaving import release

_AT_ONCE = 500


def remove(
    store: VectorStore,
    target: str,
    uploads: UploadFolder | None = None,
    media_types: Sequence[str] = (),
) -> int:
    """Remove an asset id, a file or everything in a folder; return how many assets it touched.

    Files stay on the disk, except those of ``uploads``, which would come back at the next start
    of a server. With ``media_types`` only assets of one of these.
    """
    if store.assets([target]):
        with exclusive(store, [target]):
            row = store.assets([target]).get(target)
            if row is None or (media_types and row.media_type not in media_types):
                return 0
            store.delete([target])
            if uploads:
                uploads.remove(target)
        return 1
    uri = whole_path(target)
    below = uri.rstrip("/") + "/"
    # A folder may be gone from the disk, so the store is asked, not the disk: by the location and
    # by the folder, both of which have keys there.
    at_it = store.assets_at([uri]).get(uri, [])
    within = store.scan(Compare("path", Operator.PREFIX, below))
    touched = 0
    wanted = (
        row for row in chain(at_it, within) if not media_types or row.media_type in media_types
    )
    for rows in in_chunks(wanted, _AT_ONCE):
        found = [x for row in rows for x in row.locations if x == uri or x.startswith(below)]
        with exclusive(store, (), found):
            touched += release(store, found)
            if uploads:
                _remove_uploads(uploads, found)
    return touched


def _remove_uploads(uploads: UploadFolder, locations: Iterable[str]) -> None:
    for location in filter(uploads.holds, locations):
        uploads.remove(str(uploads.owner_of(location)))
