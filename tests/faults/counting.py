"""What a store holds after a round, counted by ``count(*)`` and by keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.milvus.store import MilvusStore
from search.store.name_index import NameIndex
from search.store.open import open_store
from search.store.schema import ASSETS, LOCATIONS, segment_id
from search.types import AssetRow, row_key
from tests.contract.rows import record_of
from tests.faults.files import expected
from tests.faults.tiny_worker import DIM, N_ROWS, SPACE


@dataclass(frozen=True)
class Tally:
    """What is wrong; empty if all is well."""

    lost: list[str] = field(default_factory=list)
    """Files, segments and places that should be there and are not."""
    twice: int = 0
    """Rows beyond one for each key, in all collections."""
    stray: list[str] = field(default_factory=list)
    """What is there and should not be: segments without a commit row, other places."""

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.stray)


def content_id(content: bytes) -> str:
    """The id of an asset, by its content."""
    return blake3(content).hexdigest(length=16)


def count(uri: str, folder: Path) -> Tally:
    """Compare a folder with the store."""
    _, contents = expected(folder)
    wanted = {content_id(content): set(names) for content, names in contents.items()}
    store = open_store(uri, SPACE.fingerprint, DIM)
    record = record_of(store)
    try:
        rows = store.assets(list(wanted))
        lost = [f"content of {min(names)}" for key, names in wanted.items() if key not in rows]
        stray: list[str] = []
        for key, row in rows.items():
            places = {Path(uri).name for uri in row.locations}
            lost += sorted(wanted[key] - places)
            stray += sorted(places - wanted[key])
        segments = {
            row_key(segment_id(key, row.modality, index, SPACE.fingerprint), number)
            for key, row in rows.items()
            for index in range(row.n_segments)
            for number in range(N_ROWS.get(row.modality, 1))
        }
        keys = _keys(record)
        lost += sorted(segments - keys[record._segments.kind].keys())
        committed = keys[ASSETS.kind].keys()
        found = keys[record._segments.kind]
        # the index that answers queries has the same
        held = store.vectors(list(segments | found.keys())).keys()
        lost += sorted(segments - held)
        stray += sorted(held ^ found.keys())
        stray += sorted(committed ^ set(store.select(None)))
        stray += sorted(key for key, asset_id in found.items() if asset_id not in committed)
        lost += _not_found(store, list(rows.values()))
        assert isinstance(store, Checkable)
        stray += [
            f"check: {kind} {one}" for kind, one in store.check(lambda *_: None).wrong.items()
        ]
        return Tally(lost, _doubles(record, keys), stray)
    finally:
        store.close()


def _not_found(store: VectorStore, rows: Sequence[AssetRow]) -> list[str]:
    """Assets that a search for a vector of theirs, a text or their name does not find."""
    names, lost = NameIndex(store), []
    for row in rows:
        key = row.asset_id
        for segment in store.embeddings(key):
            (hits,) = store.search(segment.embedding[None], segment.modality, 50)
            if key not in {hit.asset_id for hit in hits}:
                lost.append(f"{key} by the vector of {segment.key}")
            texts = [segment.snippet] if segment.snippet and not segment.row else []
            lost += [
                f"{key} by the words of {segment.key}"
                for text in texts
                if segment.key
                not in {hit.segment_id for hit in store.lexical(text, 50, asset_ids=[key])}
            ]
        name = Path(row.locations[0]).name
        if names.find(name, with_folders=False).get(key) != 1:
            lost.append(f"{key} by its name {name}")
    names.close()
    return lost


def _keys(store: MilvusStore) -> dict[str, dict[str, str]]:
    """The keys of all rows with their assets, by collection."""
    found = {}
    for kind in (store._segments, LOCATIONS, ASSETS):
        rows = store._rows.where(kind, "", [kind.key, "asset_id"])
        found[kind.kind] = {row[kind.key]: row["asset_id"] for row in rows}
    return found


def _doubles(store: MilvusStore, keys: dict[str, dict[str, str]]) -> int:
    kinds = (store._segments, LOCATIONS, ASSETS)
    return sum(store._rows.count(kind) - len(keys[kind.kind]) for kind in kinds)
