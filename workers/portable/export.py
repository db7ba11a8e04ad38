"""Export a store to Parquet files, part by part; an interrupted export can be resumed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from encoder.system.disk import sha256_of, writing
from search.store.base import VectorStore
from workers.portable.manifest import Manifest, Part, read
from workers.portable.tables import asset_table, segment_table

ASSETS_AT_ONCE = 500


def export_store(
    store: VectorStore,
    folder: Path,
    about: Manifest,
    progress: Callable[[int, int], object],
    *,
    assets_at_once: int = ASSETS_AT_ONCE,
) -> Manifest:
    """Write all assets, and the vectors of their segments.

    What is ingested meanwhile may be missing.

    Args:
        store: to read.
        folder: is created; if it holds a part of an export, that is completed.
        about: model and space of the store, without parts.
        progress: called with the number of assets written and the total.
        assets_at_once: assets per part.

    Raises:
        SpaceMismatchError: the folder holds an export of another space.
        InputError: its manifest is damaged.
        DiskError: it cannot be written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    manifest = read(folder) or about
    manifest.check_space(about.fingerprint)
    n_done, n_assets = sum(part.n_assets for part in manifest.parts), store.count()
    last = manifest.parts[-1].last if manifest.parts else ""
    rest = iter(store.select(None, after=last))
    while ids := list(islice(rest, assets_at_once)):
        manifest.parts.append(_write_part(store, folder, ids, len(manifest.parts), about))
        manifest.write(folder)
        n_done += manifest.parts[-1].n_assets
        progress(n_done, max(n_assets, n_done))
    manifest.whole = True
    manifest.write(folder)
    return manifest


def _write_part(
    store: VectorStore, folder: Path, ids: list[str], number: int, about: Manifest
) -> Part:
    found = store.assets(ids)
    assets = [found[one] for one in ids if one in found]
    segments = [row for asset in assets for row in store.embeddings(asset.asset_id)]
    name = f"part-{number:05d}"
    files = {
        f"{name}.assets.parquet": asset_table(assets),
        f"{name}.segments.parquet": segment_table(segments, about.embed_dim),
    }
    sums = {file: _write(table, folder / file) for file, table in files.items()}
    return Part(name, len(assets), len(segments), ids[-1], sums)


def _write(table: pa.Table, path: Path) -> str:
    with writing(path):
        pq.write_table(table, path, compression="zstd")
    return sha256_of(path)
