"""What a store lacks, or holds and should not, after a round: by brute force and by searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from blake3 import blake3

from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.milvus.store import MilvusStore
from search.store.name_index import NameIndex
from search.store.open import open_store
from search.store.schema import ASSETS, LOCATIONS
from search.types import AssetRow
from tests.faults import brute
from tests.faults.cluster import Cluster, Folder
from tests.faults.files import expected
from tests.faults.tiny_worker import DIM, SPACE
from tests.support.waiting import wait_for


def content_id(content: bytes) -> str:
    """The id of an asset, by its content."""
    return blake3(content).hexdigest(length=16)


def faults_of_store(cluster: Cluster, folder: Path) -> list[str]:
    """What is wrong with the rows of a cluster's store, of which some are of this folder."""
    _, contents = expected(folder)
    wanted = {content_id(content): frozenset(names) for content, names in contents.items()}
    # Whoever opens a store tidies up behind writes that were cut off.
    with closing(open_store(cluster.milvus.uri, SPACE.fingerprint, DIM)) as store:
        rows = rows_of(cluster)
        wrong = brute.faults_of_record(rows)
        for asset_id, names in wanted.items():
            places, _ = rows.world.get(asset_id, (frozenset[str](), None))
            if (stored := {Path(place).name for place in places}) != names:
                wrong.append(f"content of {sorted(names)} is at {sorted(stored)}")
        if isinstance(store, MilvusStore):
            wrong += _doubles(store, rows)
        # The index that answers queries has the same.
        keys = {row["segment_id"] for row in rows.segments}
        wrong += [f"{key} has no vector" for key in keys - store.vectors(list(keys)).keys()]
        if set(store.select(None)) != rows.world.keys():
            wrong.append("other assets are selected than committed")
        wrong += _not_found(store, list(store.assets(list(wanted)).values()))
        assert isinstance(store, Checkable)
        findings = store.check(lambda *_: None).wrong
        return [*wrong, *(f"check: {kind} {ids}" for kind, ids in findings.items())]


def rows_of(cluster: Cluster) -> brute.Rows:
    """All rows, read without the code that is tested."""
    if not isinstance(cluster.milvus, Folder):
        return brute.read_server(cluster.store_address, SPACE.fingerprint)
    with brute.copied(Path(cluster.milvus.uri)) as copy:
        return brute.read_folder(copy, SPACE.fingerprint)


def _not_found(store: VectorStore, rows: Sequence[AssetRow]) -> Iterator[str]:
    """Assets that no search for a vector, a text or a name of theirs finds."""
    has_words = not isinstance(store, MilvusStore) or store._words is not None
    with closing(NameIndex(store)) as names:
        names.begin()
        wait_for(names.is_read)  # on a busy machine, longer than a search would wait
        for row in rows:
            key = row.asset_id
            for segment in store.embeddings(key):
                (hits,) = store.search(segment.embedding[None], [segment.modality], 50)
                if key not in {hit.asset_id for hit in hits}:
                    yield f"{key} is not found by the vector of {segment.key}"
                if segment.snippet and not segment.row and has_words:
                    words = store.lexical(segment.snippet, 50, asset_ids=[key])
                    if segment.key not in {hit.segment_id for hit in words}:
                        yield f"{key} is not found by the words of {segment.key}"
            name = Path(row.locations[0]).name
            if names.find(name, with_folders=False).get(key) != 1:
                yield f"{key} is not found by its name {name}"


def _doubles(record: MilvusStore, rows: brute.Rows) -> Iterator[str]:
    """Rows beyond one for each key, which queries do not show."""
    shown = [(record._segments[SPACE.fingerprint], rows.segments), (ASSETS, rows.assets)]
    if rows.locations is not None:
        shown.append((LOCATIONS, rows.locations))
    for kind, of_kind in shown:
        if n_more := record._rows.count(kind) - len(of_kind):
            yield f"{n_more} rows of {kind.kind} more than keys"
