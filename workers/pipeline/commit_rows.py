"""Commit rows: what the files of a content say of it, and contents that lose their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from encoder.system.batched import in_batches
from encoder.types import Modality
from ingest.kinds.registry import READ_BY
from ingest.sources.objects import whole_path
from ingest.sources.objects.address import VERSIONS, versions_at
from ingest.types import Asset
from search.filters import Compare, Operator
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import GONE_SINCE, AssetRow, Labels, SegmentRow
from search.uploads import UploadFolder
from workers.observe import metrics

_AT_ONCE = 500


def commit_row(
    copies: Sequence[Asset],
    current: AssetRow | None,
    *,
    counts: Mapping[Modality, int],
    labels_found: Labels,
    labels: Labels,
    packages: str | None = None,
) -> AssetRow:
    """The row of a content that lies at ``copies``, and is stored as ``current`` if at all.

    Locations are added; those of a content that was gone are forgotten. ``modified`` is the latest
    change of any of its files, so that the order in which copies come does not matter. Labels
    override what files say; stored labels that are not given stay as they are.

    ``labels_found``: what its segments say of it, such as its language.

    ``packages``: what read it just now (`ingest.kinds.registry`); None if nothing did. If it
    was read again by a different version, or has no segments yet, what is stored overrides what
    that version says, since it may be a user's label.
    """
    first = copies[0]
    new = AssetRow(
        first.asset_id,
        first.modality,
        first.media_type,
        first.size_bytes,
        counts=counts,
        locations=[],
        metadata={**first.metadata, **labels_found},
    )
    made_by: Labels = {READ_BY: packages} if packages else {}
    row = current or replace(new, metadata={**new.metadata, **made_by})
    is_unread = not row.n_segments or row.metadata.get(READ_BY, "") != packages
    if packages is not None and is_unread:
        merged = {**new.metadata, **row.metadata, **made_by}
        row = replace(new, locations=row.locations, metadata=merged)
    if row.is_gone:  # it is back, and its former places no longer hold
        row = replace(row, locations=[], metadata=without_gone(row.metadata))
    uris = [copy.uri for copy in copies]
    known_facts = [row.metadata, *(copy.metadata for copy in copies)]
    modified: Labels = {"modified": latest} if (latest := max(map(_modified, known_facts))) else {}
    locations = list(dict.fromkeys([*row.locations, *uris]))
    versions_seen = versions_at((facts.get(VERSIONS) for facts in known_facts), locations)
    versions: Labels = {VERSIONS: versions_seen} if versions_seen else {}
    return replace(
        row, locations=locations, metadata={**row.metadata, **modified, **versions, **labels}
    )


def without_gone(metadata: Labels) -> Labels:
    return {name: value for name, value in metadata.items() if name != GONE_SINCE}


def _modified(metadata: Labels) -> float:
    value = metadata.get("modified")
    return float(value) if isinstance(value, int | float) else 0.0


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

    One that is gone is at none of its places, and keeps them for the time when it is back.
    """
    rows_left = dict(changed)
    for uri in uris.keys() & at_uris.keys():
        for row in at_uris[uri]:
            if row.asset_id != uris[uri] and not row.is_gone:
                row = rows_left.get(row.asset_id, row)
                locations = [location for location in row.locations if location != uri]
                rows_left[row.asset_id] = replace(row, locations=locations)
    return rows_left


def drop(
    rows: Mapping[str, AssetRow],
    alive: Mapping[str, str],
    dead: Callable[[AssetRow], set[str]],
) -> tuple[dict[str, AssetRow], int]:
    """The rows without places that no longer hold a file, and how many places those were."""
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


def rows_at(store: VectorStore, target: str, media_types: Sequence[str] = ()) -> Iterator[AssetRow]:
    """The assets that `remove` touches."""
    rows: Iterable[AssetRow] = store.assets([target]).values()
    if not rows:
        # A folder may be gone from the disk, so the store is asked, not the disk: by the location
        # and by the folder, both of which have keys there.
        uri = whole_path(target)
        within = store.scan(Compare("path", Operator.PREFIX, uri.rstrip("/") + "/"))
        rows = chain(store.assets_at([uri]).get(uri, []), within)
    yield from (row for row in rows if not media_types or row.media_type in media_types)


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
    touched = 0
    for rows in in_batches(rows_at(store, target, media_types), _AT_ONCE):
        asset_ids = [row.asset_id for row in rows]
        with exclusive(store, asset_ids):
            rows_left, uris = [], list[str]()
            for row in store.assets(asset_ids).values():  # it may have moved within the folder
                outside = [x for x in row.locations if x != uri and not x.startswith(below)]
                if len(outside) < len(row.locations):
                    rows_left.append(replace(row, locations=outside))
                    uris += set(row.locations).difference(outside)
            put(store, rows_left, [])
            touched += len(rows_left)
            if uploads:
                for uri_below in filter(uploads.holds, uris):
                    uploads.remove(str(uploads.owner_of(uri_below)))
    return touched
