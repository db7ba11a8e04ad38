"""A store's rows, compared by brute force.

It reads Milvus by its client, and a folder by SQLite and NumPy, without the code that is tested.
Of a folder it reads a copy, so that reading mends nothing.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from pymilvus import MilvusClient

from search.store.schema import uri_key
from search.store.several import key_of
from tests.faults.tiny_worker import DIM, N_ROWS

World: TypeAlias = Mapping[str, tuple[frozenset[str], frozenset[str]]]
"""Places and tags by asset."""
_MOST = 16_384
_ROW_BITS = 40
_SLOT_BITS = 40


@dataclass(frozen=True)
class Rows:
    """All rows of one space, by collection, as they are stored."""

    assets: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    locations: list[dict[str, Any]]
    words: list[dict[str, Any]] | None
    """None in a folder, and on servers without words of their own."""

    @property
    def world(self) -> World:
        """What is committed."""
        return {
            row["asset_id"]: (
                frozenset(row["locations"]),
                frozenset(row["metadata"].get("tags") or ()),
            )
            for row in self.assets
        }


@contextmanager
def copied(folder: Path) -> Iterator[Path]:
    """A copy of a store's folder, until the block ends."""
    with TemporaryDirectory(prefix="brute-") as name:
        copy = Path(name) / "store"
        sockets = shutil.ignore_patterns("*.sock", "*.lock", "server.json", "holder.pid")
        shutil.copytree(folder, copy, ignore=sockets)
        yield copy


def read_folder(folder: Path, space: str) -> Rows:
    """The rows of a space, from a copy of the folder."""
    files = folder / "content"
    with closing(sqlite3.connect(files / "store.db")) as db:
        committed = db.execute("SELECT asset_id, row FROM asset WHERE row NOT NULL").fetchall()
        lanes = {str(n) for (n,) in db.execute("SELECT lane FROM lane WHERE space = ?", (space,))}
        assets = [
            {
                "asset_id": asset_id,
                "n_segments": sum(n for lane, n in row[3].items() if lane in lanes),
                "locations": row[4],
                "metadata": row[5],
            }
            for asset_id, row in ((key, json.loads(text)) for key, text in committed)
        ]
        placed = "SELECT uri, asset_id FROM location JOIN asset USING (no)"
        locations = [
            {"location_id": f"{uri} {asset_id}", "uri_key": uri_key(uri), "asset_id": asset_id}
            for uri, asset_id in db.execute(placed)
        ]
        stored = db.execute(
            "SELECT key, asset_id, modality, idx, at FROM segment JOIN asset USING (no) "
            f"JOIN part ON part.part = segment.at >> {_SLOT_BITS} JOIN lane USING (lane) "
            "WHERE space = ?",
            (space,),
        ).fetchall()
    segments = []
    for key, asset_id, modality, index, at in stored:
        part, slot = divmod(at, 1 << _SLOT_BITS)
        path = files / "vectors" / f"{part}.rows"
        segments.append(
            {"segment_id": key_of(key), "asset_id": asset_id, "modality": modality, "index": index}
            | {"embedding": np.fromfile(path, np.float32, DIM, offset=4 * DIM * slot)}
        )
    return Rows(assets, segments, locations, None)


def read_server(uri: str, space: str) -> Rows:
    """The rows of a space on a server."""
    with closing(MilvusClient(uri, dedicated=True)) as client:
        names = client.list_collections()

        def rows(kind: str, *fields: str) -> list[dict[str, Any]]:
            of_space = kind in ("segments", "words")
            name = f"anymodal_{space}_{kind}" if of_space else f"anymodal_{kind}"
            client.load_collection(name)
            stored = client.query(
                name,
                filter="",
                limit=_MOST,
                output_fields=list(fields),
                consistency_level="Strong",
            )
            assert len(stored) < _MOST
            return list(map(dict, stored))

        has_words = f"anymodal_{space}_words" in names
        assets = rows("assets", "asset_id", "counts", "locations", "metadata")
        for row in assets:
            for name in ("metadata", "counts"):
                if isinstance(row[name], str | bytes):
                    row[name] = json.loads(row[name])
            row["n_segments"] = sum(row["counts"].get(space, {}).values())
            row["locations"] = list(row["locations"])
        return Rows(
            assets,
            rows("segments", "segment_id", "asset_id", "modality", "index", "embedding"),
            rows("locations", "location_id", "uri_key", "asset_id"),
            rows("words", "segment_id", "asset_id") if has_words else None,
        )


def faults_of_record(rows: Rows) -> list[str]:
    """What is lost, there twice, or belongs to nothing.

    Places that an asset has left may stay: the commit row decides, and later writes tidy up.
    """
    committed = {row["asset_id"]: row for row in rows.assets}
    wrong = [
        *_doubles("assets", [row["asset_id"] for row in rows.assets]),
        *_doubles("segments", [row["segment_id"] for row in rows.segments]),
    ]
    by_asset: dict[str, list[dict[str, Any]]] = {}
    for row in rows.segments:
        by_asset.setdefault(row["asset_id"], []).append(row)
    wrong += [f"{len(by_asset[x])} orphan segments of {x}" for x in by_asset.keys() - committed]
    for asset_id, row in committed.items():
        seen = Counter(divmod(one["index"], 1 << _ROW_BITS) for one in by_asset.get(asset_id, []))
        first = {index for number, index in seen if not number}
        if first != set(range(row["n_segments"])):
            wrong.append(f"{asset_id} has segments {sorted(first)} of {row['n_segments']}")
        modality = next((one["modality"] for one in by_asset.get(asset_id, [])), "")
        wanted = len(first) * {str(key): n for key, n in N_ROWS.items()}.get(modality, 1)
        if len(seen) != wanted:
            wrong.append(f"{asset_id} has {len(seen)} rows of {wanted}")
    wrong += _doubles("places", [row["location_id"] for row in rows.locations])
    named = {(uri_key(uri), row["asset_id"]) for row in rows.assets for uri in row["locations"]}
    placed = {(row["uri_key"], row["asset_id"]) for row in rows.locations}
    wrong += [f"a place of {asset_id} cannot be found" for _, asset_id in named - placed]
    for row in rows.segments:
        if abs(float(np.linalg.norm(row["embedding"])) - 1) > 1e-4:
            wrong.append(f"{row['segment_id']} has no vector")
    if rows.words is not None:
        worded = {row["segment_id"] for row in rows.words}
        texts = {row["segment_id"] for row in rows.segments if row["modality"] == "text"}
        wrong += _doubles("words", [row["segment_id"] for row in rows.words])
        wrong += [f"no words of {key}" for key in texts - worded]
        wrong += [f"stray words of {key}" for key in worded - texts]
    return wrong


def faults_of_world(world: World, before: World, after: World) -> list[str]:
    """Assets that are neither as before nor as after an operation, nor on the way there.

    An operation on several files may have done some of them.
    """
    nothing = (frozenset[str](), frozenset[str]())
    wrong = []
    for asset_id in sorted(world.keys() | before.keys() | after.keys()):
        now, legal = world.get(asset_id), [of.get(asset_id) for of in (before, after)]
        (old, _), (new, _) = (one or nothing for one in legal)
        if now in legal:
            continue
        tags = [one[1] for one in legal if one]
        if now is None or not (old & new <= now[0] <= old | new) or now[1] not in tags:
            wrong.append(f"{asset_id} is {now}, not {legal}")
    return wrong


def _doubles(what: str, keys: list[str]) -> list[str]:
    return [f"{n} {what} have the key {key}" for key, n in Counter(keys).items() if n > 1]
