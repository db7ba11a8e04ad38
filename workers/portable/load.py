"""Load Parquet files into a store; what is there already is skipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from encoder.errors import InputError
from encoder.system.disk import sha256_of
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import SegmentRow
from workers.portable.manifest import NAME, Manifest, Part, read
from workers.portable.tables import asset_rows, segment_rows

_ASSETS_AT_ONCE = 50


def open_export(folder: Path) -> Manifest:
    """The manifest of a complete export, once its files are verified.

    Raises:
        InputError: there is none, or it is incomplete or damaged.
    """
    manifest = read(folder)
    if manifest is None:
        raise InputError(
            "folder",
            got=f"{folder} without {NAME}",
            wanted="a folder made by `anymodal store export`",
        )
    if not manifest.whole:
        raise InputError(
            "folder",
            got=f"{folder}, which is incomplete",
            wanted="the result of running `anymodal store export` again",
        )
    for part in manifest.parts:
        for name, sha256 in part.sha256.items():
            path = folder / name
            if not path.is_file() or sha256_of(path) != sha256:
                raise InputError(
                    "folder", got=f"{path}, which is missing or damaged", wanted="an intact copy"
                )
    return manifest


def import_store(
    store: VectorStore, folder: Path, manifest: Manifest, progress: Callable[[int, int], object]
) -> int:
    """Write all assets that the store does not have; may be called again if it was killed.

    Args:
        store: of the same space (`Manifest.check_space`).
        folder: with the files.
        manifest: from `open_export`.
        progress: called with the number of assets done and the total.

    Returns:
        How many assets were written.
    """
    n_written = n_done = 0
    total = sum(part.n_assets for part in manifest.parts)
    for part in manifest.parts:
        n_written += _import_part(store, folder, part)
        n_done += part.n_assets
        progress(n_done, total)
    return n_written


def _import_part(store: VectorStore, folder: Path, part: Part) -> int:
    @cache
    def segments() -> Mapping[str, list[SegmentRow]]:
        """By asset; not read if all assets are stored."""
        by_asset: dict[str, list[SegmentRow]] = defaultdict(list)
        for row in segment_rows(pq.read_table(folder / f"{part.name}.segments.parquet")):
            by_asset[row.asset_id].append(row)
        return by_asset

    n_written = 0
    assets = iter(asset_rows(pq.read_table(folder / f"{part.name}.assets.parquet")))
    while some := list(islice(assets, _ASSETS_AT_ONCE)):
        ids = [asset.asset_id for asset in some]
        with exclusive(store, ids):
            known = store.assets(ids)
            changed = [asset for asset in some if known.get(asset.asset_id) != asset]
            if changed:
                store.write(changed, [x for one in changed for x in segments()[one.asset_id]])
        n_written += len(changed)
    return n_written
