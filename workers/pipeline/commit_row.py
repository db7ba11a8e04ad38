"""The commit row of a content: what its files, its texts and its user say of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.kinds.registry import READ_BY
from ingest.sources.objects.address import VERSIONS, versions_at
from ingest.types import Asset
from search.types import GONE_SINCE, AssetRow, Labels


def commit_row(
    copies: Sequence[Asset],
    current: AssetRow | None,
    *,
    n_segments: int,
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
    new = _new(copies[0], n_segments, labels_found)
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
    """The metadata of an asset that has a file."""
    return {name: value for name, value in metadata.items() if name != GONE_SINCE}


def _new(asset: Asset, n_segments: int, labels_found: Labels) -> AssetRow:
    return AssetRow(
        asset.asset_id,
        asset.modality,
        asset.media_type,
        asset.size_bytes,
        n_segments,
        [],
        {**asset.metadata, **labels_found},
    )


def _modified(metadata: Labels) -> float:
    value = metadata.get("modified")
    return float(value) if isinstance(value, int | float) else 0.0
