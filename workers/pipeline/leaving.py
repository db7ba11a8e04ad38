"""Contents that lose places: another is there now, no file is, or a user says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from encoder.system.batched import in_batches
from ingest.sources.objects import whole_path
from search.api.uploads import UploadFolder
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import AssetRow, SegmentRow
from workers.observe import metrics


def release(store: VectorStore, uris: Sequence[str]) -> int:
    """Forget what is at these URIs; assets without any location left are deleted.

    Returns:
        How many assets lost a location.

    Raises:
        StoreError: as `search.store.locks.exclusive`, or the store fails.
    """
    with exclusive(store, (), uris) as at_uris:
        rows_left = released(at_uris, dict.fromkeys(uris), {})
        put(store, rows_left.values(), [])
    return len(rows_left)


def released(
    at_uris: Mapping[str, Sequence[AssetRow]],
    uris: Mapping[str, str | None],
    changed: Mapping[str, AssetRow],
) -> dict[str, AssetRow]:
    """The rows to write, by asset: changed ones, then those that held these URIs before.

    Args:
        at_uris: the stored rows at these URIs.
        uris: for each URI the asset that it holds now, or None.
        changed: rows that are still to be written.
    """
    rows_left = dict(changed)
    for uri in uris.keys() & at_uris.keys():
        for row in at_uris[uri]:
            if row.asset_id != uris[uri]:
                row = rows_left.get(row.asset_id, row)
                locations = [location for location in row.locations if location != uri]
                rows_left[row.asset_id] = replace(row, locations=locations)
    return rows_left


def drop(
    rows: Mapping[str, AssetRow],
    alive: Mapping[str, str],
    dead: Callable[[AssetRow], set[str]],
) -> tuple[dict[str, AssetRow], int]:
    """The rows without places that no longer hold a file, and how many places those were.

    Args:
        rows: by asset.
        alive: places at which there surely is a file; only rows that have one lose others.
        dead: the places of a row at which there is no file.
    """
    rows_left, n_dropped = dict(rows), 0
    for asset_id, row in rows.items():
        other_uris = [uri for uri in row.locations if uri not in alive]
        if len(other_uris) in (0, len(row.locations)):
            continue
        if gone := dead(replace(row, locations=other_uris)):
            uris_kept = [uri for uri in row.locations if uri not in gone]
            rows_left[asset_id] = replace(row, locations=uris_kept)
            n_dropped += len(gone)
    return rows_left, n_dropped


def put(store: VectorStore, assets: Iterable[AssetRow], segments: Sequence[SegmentRow]) -> None:
    """Write rows, in this order; those without any location are deleted."""
    rows = list(assets)
    if located_rows := [row for row in rows if row.locations]:
        with metrics.STORE_WRITE_S.time():
            store.write(located_rows, segments)
    if orphans := [row.asset_id for row in rows if not row.locations]:
        store.delete(orphans)


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
    rows_of_kinds = (
        row for row in chain(at_it, within) if not media_types or row.media_type in media_types
    )
    for rows in in_batches(rows_of_kinds, _AT_ONCE):
        uris = [x for row in rows for x in row.locations if x == uri or x.startswith(below)]
        with exclusive(store, (), uris):
            touched += release(store, uris)
            if uploads:
                _remove_uploads(uploads, uris)
    return touched


def _remove_uploads(uploads: UploadFolder, locations: Iterable[str]) -> None:
    for location in filter(uploads.holds, locations):
        uploads.remove(str(uploads.owner_of(location)))
