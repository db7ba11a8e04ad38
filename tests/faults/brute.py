"""A store's rows, compared by brute force: every row of the record and of the index beside it.

It reads Milvus by its client, and the index by SQLite and NumPy, without the code that is tested.
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

from search.store.calibrated import from_stored
from search.store.lite.in_process import serve_lite, stop_lite
from search.store.schema import uri_key
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
    locations: list[dict[str, Any]] | None
    """None in a folder."""
    words: list[dict[str, Any]] | None
    """None on servers without words of their own."""

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
    uri = serve_lite(folder)
    try:
        return read_server(uri, space)
    finally:
        stop_lite(folder)


def read_server(uri: str, space: str) -> Rows:
    """The rows of a space on a server."""
    with closing(MilvusClient(uri, dedicated=True)) as client:
        names = client.list_collections()

        def rows(kind: str, *fields: str) -> list[dict[str, Any]]:
            name = f"anymodal_{space}_{kind}"
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

        has_words, has_places = (
            f"anymodal_{space}_{kind}" in names for kind in ("words", "locations")
        )
        assets = rows("assets", "asset_id", "n_segments", "locations", "metadata")
        for row in assets:
            if isinstance(row["metadata"], str | bytes):
                row["metadata"] = json.loads(row["metadata"])
            row["locations"] = list(row["locations"])
        return Rows(
            assets,
            rows("segments7", "segment_id", "asset_id", "modality", "index", "embedding"),
            rows("locations", "location_id", "uri_key", "asset_id") if has_places else None,
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
    if rows.locations is not None:
        wrong += _doubles("places", [row["location_id"] for row in rows.locations])
        named = {(uri_key(uri), row["asset_id"]) for row in rows.assets for uri in row["locations"]}
        placed = {(row["uri_key"], row["asset_id"]) for row in rows.locations}
        wrong += [f"a place of {asset_id} cannot be found" for _, asset_id in named - placed]
    if rows.words is not None:
        worded = {row["segment_id"] for row in rows.words}
        texts = {row["segment_id"] for row in rows.segments if row["modality"] == "text"}
        wrong += _doubles("words", [row["segment_id"] for row in rows.words])
        wrong += [f"no words of {key}" for key in texts - worded]
        wrong += [f"stray words of {key}" for key in worded - texts]
    return wrong


def faults_of_index(folder: Path, space: str, rows: Rows) -> list[str]:
    """Where the index beside the record differs from it."""
    side = folder / "side" / f"anymodal_{space}_side"
    if (named := side / "current").exists():
        side = side / named.read_text()
    with closing(sqlite3.connect(side / "tables.db")) as db:
        intents = [one for (one,) in db.execute("SELECT asset_id FROM intent")]
        kept = dict(db.execute("SELECT asset_id, row FROM asset WHERE row NOT NULL").fetchall())
        places = set(
            db.execute("SELECT asset_id, uri FROM location JOIN asset USING (no)").fetchall()
        )
        at = dict(db.execute("SELECT key, at FROM segment").fetchall())
        owners = dict(db.execute("SELECT key, asset_id FROM segment JOIN asset USING (no)"))
    wrong = [f"an intent for {one} is left" for one in intents]
    known = {
        asset_id: (frozenset(row[4]), frozenset(row[5].get("tags") or ()))
        for asset_id, row in ((key, json.loads(text)) for key, text in kept.items())
    }
    if known != rows.world:
        wrong.append(f"the index has other commit rows: {known.items() ^ rows.world.items()}")
    if places != {(row["asset_id"], uri) for row in rows.assets for uri in row["locations"]}:
        wrong.append("the index has other places")
    stored = {row["segment_id"]: row for row in rows.segments}
    if differ := at.keys() ^ stored.keys():
        return [*wrong, f"{len(differ)} segments are only in the index or only in the record"]
    if owners != {key: row["asset_id"] for key, row in stored.items()}:
        wrong.append("segments in the index belong to other assets")
    for key, place in at.items():
        part, slot = divmod(place, 1 << _SLOT_BITS)
        file = side / "vectors" / f"{part}.rows"
        vector = np.fromfile(file, np.float32, DIM, offset=4 * DIM * slot)
        if float(vector @ from_stored(stored[key]["embedding"])) < 0.999:
            wrong.append(f"the index has a different vector of {key}")
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
