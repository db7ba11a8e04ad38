"""A store as Parquet files, and back.

Both directions go part by part, so that what was interrupted can be continued.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path, PurePath
from time import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoder.errors import InputError
from encoder.models.probes import check_same
from encoder.system.batched import in_batches
from encoder.system.disk import sha256_of, writing
from encoder.types import Modality
from ingest.kinds.registry import READ_BY
from search.errors import SpaceMismatchError
from search.store.base import VectorStore
from search.store.locks import exclusive
from search.types import GONE_SINCE, AssetRow, SegmentRow

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

NAME = "manifest.json"
_FORMAT = 3


@dataclass(frozen=True)
class ExportPart:
    name: str
    n_assets: int
    n_segments: int
    last: str
    sha256: Mapping[str, str]


@dataclass
class Manifest:
    model: str
    fingerprint: str
    embed_dim: int
    parts: list[ExportPart] = field(default_factory=list)
    whole: bool = False
    probes: Sequence[str] = ()
    """See `encoder.space.Space`; written only if there are any."""
    lanes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By modality: ``fingerprint`` and ``probes`` of its lane, whose rows are in files of their
    own."""

    @classmethod
    def of(cls, encoder: MultiModalEncoder) -> Manifest:
        """The model and spaces of an encoder, without parts."""
        space = encoder.space
        lanes = {
            str(modality): {"fingerprint": lane.space.fingerprint, "probes": lane.space.probes}
            for modality, lane in encoder.lanes.items()
        }
        return cls(
            encoder.model, space.fingerprint, space.embed_dim, probes=space.probes, lanes=lanes
        )

    def write(self, folder: Path) -> None:
        new = folder / f"{NAME}.new"
        with writing(new):
            facts = {"format": _FORMAT, **asdict(self)}
            for name in ("probes", "lanes"):
                if not facts[name]:
                    del facts[name]
            new.write_text(json.dumps(facts, indent=1), "utf-8")
            new.replace(folder / NAME)

    def check_space(self, other: Manifest) -> None:
        """Raise SpaceMismatchError, or a ModelError, unless the vectors are of the same spaces."""
        own_spaces, other_spaces = (
            {"": {"fingerprint": each.fingerprint, "probes": each.probes}, **each.lanes}
            for each in (self, other)
        )
        if own_spaces.keys() != other_spaces.keys() or any(
            own_spaces[name]["fingerprint"] != other_spaces[name]["fingerprint"]
            for name in own_spaces
        ):
            raise SpaceMismatchError(
                f"The export holds embeddings from {self.model} ({self.fingerprint}), not from "
                f"{other.model} ({other.fingerprint}).",
                f"Use --model {self.model}, or another folder.",
            )
        for name, facts in own_spaces.items():
            if facts["probes"]:
                probes = other_spaces[name]["probes"]
                check_same(self.model, probes, facts["probes"], "the one of the export")


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder; None if it has none.

    Raises:
        InputError: it is damaged, or of a different version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if facts.pop("format") != _FORMAT:
            raise ValueError("of another version")
        parts = [ExportPart(**part_facts) for part_facts in facts.pop("parts")]
        return Manifest(**facts, parts=parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "folder",
            got=f"{path}, which cannot be read ({error})",
            wanted="a folder made by `anymodal store export`",
        ) from None


_ASSETS = pa.schema(
    {
        "asset_id": pa.string(),
        "modality": pa.string(),
        "media_type": pa.string(),
        "size_bytes": pa.int64(),
        "counts": pa.string(),  # JSON
        "locations": pa.list_(pa.string()),
        "metadata": pa.string(),  # JSON
    }
)
_TYPES = {
    "index": pa.int64(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "char_start": pa.int64(),
    "char_end": pa.int64(),
    "confidence": pa.float64(),
    "row": pa.int64(),
}
_FIELDS = [field.name for field in fields(SegmentRow) if field.name != "embedding"]


def asset_table(rows: Sequence[AssetRow]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows] for name in _ASSETS.names
    }
    columns["modality"] = [str(row.modality) for row in rows]
    columns["locations"] = [list(row.locations) for row in rows]
    columns["counts"] = [json.dumps(row.counts) for row in rows]
    columns["metadata"] = [json.dumps(row.metadata, ensure_ascii=False) for row in rows]
    return pa.table(columns, _ASSETS)


def asset_rows(table: pa.Table) -> list[AssetRow]:
    return [
        AssetRow(
            **{
                **row,
                "modality": Modality(row["modality"]),
                "counts": {Modality(m): n for m, n in json.loads(row["counts"]).items()},
                "metadata": json.loads(row["metadata"]),
            }
        )
        for row in table.to_pylist()
    ]


def segment_table(rows: Sequence[SegmentRow], embed_dim: int) -> pa.Table:
    """Segments, each row with its unit vector ``embedding``, float32 [embed_dim]."""
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], _TYPES[name])
        if name in _TYPES
        else pa.array([str(getattr(row, name)) for row in rows], pa.string())
        for name in _FIELDS
    }
    flat = np.concatenate([row.embedding for row in rows]) if rows else np.zeros(0, np.float32)
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(
        pa.array(flat.astype(np.float32, copy=False)), embed_dim
    )
    return pa.table(columns)


def segment_rows(table: pa.Table) -> list[SegmentRow]:
    vectors = table.column("embedding").combine_chunks()
    flat = np.asarray(vectors.flatten(), np.float32).reshape(-1, vectors.type.list_size)
    plain = table.drop_columns(["embedding"]).to_pylist()
    return [
        SegmentRow(**{**row, "modality": Modality(row["modality"]), "embedding": vector})
        for row, vector in zip(plain, flat, strict=True)
    ]


ASSETS_AT_ONCE = 500


def export_store(
    store: VectorStore,
    folder: Path,
    described: Manifest,
    progress: Callable[[int, int], object],
    *,
    assets_at_once: int = ASSETS_AT_ONCE,
) -> Manifest:
    """Write all assets, and the vectors of their segments.

    What is ingested meanwhile may be missing.

    Args:
        folder: is created; if it holds a part of an export, that is completed.
        described: model and space of the store, without parts.
        assets_at_once: assets per part.

    Raises:
        SpaceMismatchError: the folder holds an export of another space.
        InputError: its manifest is damaged.
        DiskError: it cannot be written to.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    manifest = read(folder) or described
    manifest.check_space(described)
    n_done, n_assets = sum(table_part.n_assets for table_part in manifest.parts), store.count()
    last = manifest.parts[-1].last if manifest.parts else ""
    ids_left = iter(store.select(None, after=last))
    for ids in in_batches(ids_left, assets_at_once):
        manifest.parts.append(_write_part(store, folder, ids, len(manifest.parts), described))
        manifest.write(folder)
        n_done += manifest.parts[-1].n_assets
        progress(n_done, max(n_assets, n_done))
    manifest.whole = True
    manifest.write(folder)
    return manifest


def _write_part(
    store: VectorStore, folder: Path, ids: list[str], number: int, described: Manifest
) -> ExportPart:
    by_id = store.assets(ids)
    segments_of = {asset_id: store.embeddings(asset_id) for asset_id in by_id}
    changed = [key for key, asset in by_id.items() if not _is_whole(asset, segments_of[key])]
    if changed:  # they were written or removed between the two reads
        with exclusive(store, changed):
            current = store.assets(changed)
            segments_of |= {asset_id: store.embeddings(asset_id) for asset_id in current}
        for asset_id in changed:
            del by_id[asset_id]
        by_id |= current
    assets = [by_id[asset_id] for asset_id in ids if asset_id in by_id]
    segments = [row for asset in assets for row in segments_of[asset.asset_id]]
    name = f"part-{number:05d}"
    of_lanes: dict[str, list[SegmentRow]] = {"": [], **{f".{m}": [] for m in described.lanes}}
    for row in segments:
        of_lanes[f".{row.modality}" if row.modality in described.lanes else ""].append(row)
    files = {f"{name}.assets.parquet": asset_table(assets)}
    for lane, rows in of_lanes.items():
        embed_dim = rows[0].embedding.size if rows else described.embed_dim
        files[f"{name}.segments{lane}.parquet"] = segment_table(rows, embed_dim)
    sums = {file: _write(table, folder / file) for file, table in files.items()}
    return ExportPart(name, len(assets), len(segments), ids[-1], sums)


def _is_whole(asset: AssetRow, segments: Sequence[SegmentRow]) -> bool:
    """Whether these are the segments that an asset counts."""
    return Counter(row.modality for row in segments if not row.row) == Counter(asset.counts)


def _write(table: pa.Table, path: Path) -> str:
    with writing(path):
        pq.write_table(table, path, compression="zstd")
    return sha256_of(path)


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
    for table_part in manifest.parts:
        for name, sha256 in table_part.sha256.items():
            path = folder / name
            if not path.is_file() or sha256_of(path) != sha256:
                raise InputError(
                    "folder", got=f"{path}, which is missing or damaged", wanted="an intact copy"
                )
    return manifest


@dataclass
class Imported:
    """What an import did.

    Args:
        n_added: assets that the store did not have.
        n_completed: assets that now have a place, a fact or segments that they lacked.
        kept: assets of which the export says something else than the store, which stays as it is;
            by id, each with a location.
    """

    n_added: int = 0
    n_completed: int = 0
    kept: dict[str, str] = field(default_factory=dict)


def import_store(
    store: VectorStore, folder: Path, manifest: Manifest, progress: Callable[[int, int], object]
) -> Imported:
    """Add what the store lacks; may be called again if it was killed.

    An export is older than what is stored: of an asset that is, it adds names of metadata and
    places, segments if it has none, and a title in place of a file's name. A place that holds
    another content by now stays that one's; an asset without any other is noted as gone, and comes
    back with its tags.
    """
    imported, n_done = Imported(), 0
    total = sum(table_part.n_assets for table_part in manifest.parts)
    for table_part in manifest.parts:
        _import_part(store, folder, table_part, imported)
        n_done += table_part.n_assets
        progress(n_done, total)
    return imported


def _import_part(
    store: VectorStore, folder: Path, table_part: ExportPart, imported: Imported
) -> None:
    @cache
    def segments() -> Mapping[str, list[SegmentRow]]:
        """By asset; not read if all assets are stored."""
        by_asset: dict[str, list[SegmentRow]] = defaultdict(list)
        for name in table_part.sha256:
            if name.startswith(f"{table_part.name}.segments."):
                for row in segment_rows(pq.read_table(folder / name)):
                    by_asset[row.asset_id].append(row)
        return by_asset

    assets = iter(asset_rows(pq.read_table(folder / f"{table_part.name}.assets.parquet")))
    for some in in_batches(assets, _ASSETS_AT_ONCE):
        ids = [asset.asset_id for asset in some]
        with exclusive(store, ids, [uri for asset in some for uri in asset.locations]) as at_uris:
            current, rows = store.assets(ids), dict[str, AssetRow]()
            for asset in some:
                other_uris = {
                    uri
                    for uri in asset.locations
                    for row in at_uris.get(uri, ())
                    if not row.is_gone and row.asset_id != asset.asset_id
                }
                row = merged(asset, current.get(asset.asset_id), other_uris)
                if row != current.get(asset.asset_id):
                    rows[asset.asset_id] = row
                if says_else(asset, row):
                    imported.kept[asset.asset_id] = next(iter(row.locations), "")
            if rows:
                full = {asset_id for asset_id, row in current.items() if row.n_segments}
                bare = sorted(rows.keys() - full)
                store.empty(bare)
                new_segments = [row for asset_id in bare for row in segments()[asset_id]]
                for asset_id in bare:
                    if not _is_whole(rows[asset_id], segments()[asset_id]):
                        # Its store was damaged; an ingest reads what counts none.
                        rows[asset_id] = replace(rows[asset_id], counts={})
                store.write(list(rows.values()), new_segments)
        imported.n_added += len(rows.keys() - current.keys())
        imported.n_completed += len(rows.keys() & current.keys())


def says_else(asset: AssetRow, row: AssetRow) -> bool:
    """Whether an export says anything of an asset that its stored row does not."""
    facts = row.metadata
    return (
        any(facts.get(name) != fact for name, fact in asset.metadata.items())
        or not {*asset.locations} <= {*row.locations}
        or (asset.counts, asset.is_gone) != (row.counts, row.is_gone)
    )


def merged(asset: AssetRow, current: AssetRow | None, other_uris: set[str]) -> AssetRow:
    """An asset of an export with what is stored of it, which is newer.

    ``others`` are the places of it that hold other contents by now.
    """
    uris = [uri for uri in asset.locations if asset.is_gone or uri not in other_uris]
    if current is None:
        gone = {} if uris else {GONE_SINCE: round(time(), 3)}
        uris = uris or list(asset.locations)
        return replace(asset, locations=uris, metadata={**asset.metadata, **gone})
    if current.is_gone or asset.is_gone:
        uris = []
    left_out = {id(asset): {GONE_SINCE}, id(current): set[str]()}
    left_out[id(asset if current.n_segments else current)].add(READ_BY)
    if _is_titled_by_file(current) and not _is_titled_by_file(asset):
        left_out[id(current)].add("title")
    metadata = {
        name: fact
        for row in (asset, current)
        for name, fact in row.metadata.items()
        if name not in left_out[id(row)]
    }
    locations = list(dict.fromkeys([*current.locations, *uris]))
    counts = current.counts if current.n_segments else asset.counts
    return replace(current, counts=counts, locations=locations, metadata=metadata)


def _is_titled_by_file(row: AssetRow) -> bool:
    """Whether its title says no more than a file's name, or nothing."""
    paths = map(PurePath, row.locations)
    return row.metadata.get("title") in {
        None,
        *(x for path in paths for x in (path.stem, path.name)),
    }
