"""The store on Milvus: a server, or a FILE.db that Milvus Lite opens in this process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection as Ids
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from encoder.space import UNCALIBRATED, Calibration
from encoder.system.batched import in_batches
from encoder.system.disk import check_room
from encoder.types import TEXT, Embeddings, Modality
from search.errors import StoreError, StoreMissingError
from search.filters import Compiled, Filter, compile_filter, matches
from search.filters.milvus import among, compile_for_segments, equals
from search.lexical.index import MAX_FOUND
from search.lexical.rarity import Frequencies
from search.store.calibrated import Constants, StoredCalibration
from search.store.checking import Findings, Progress
from search.store.checks import checked_asset, checked_queries, checked_segment
from search.store.folders import locks_folder
from search.store.locks import WriteLocks, machine_locks
from search.store.milvus.checking import MilvusCheck
from search.store.milvus.indexes import HNSW, IndexState, state_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.lite import is_file
from search.store.milvus.notes import NotedCalibration, ServerRecord, Writers
from search.store.milvus.rows import MAX_ROWS, MilvusRows
from search.store.milvus.search import MilvusSearch, Where
from search.store.milvus.setup import prepare_collections
from search.store.milvus.words import MilvusWords, wordless
from search.store.milvus.writing import Removal, SegmentWriter
from search.store.schema import (
    ASSETS,
    LOCATIONS,
    WORDS,
    asset_from_dict,
    segment_from_dict,
    segments_collection,
    uri_key,
)
from search.store.several import FIRST_ROWS, by_segment
from search.store.space_record import (
    SearchedSpace,
    check_current,
    check_searched,
)
from search.types import AssetRow, ScoredSegment, SegmentRow

_SCALARS_BYTES = 2048  # the usual size of a row without its embedding
_IDS_PER_COUNT = 200
_MAX_JOINED = 2000  # the most assets whose texts are searched by their ids
_ALL = Compiled("", True)
_COPIES = 3  # of a row on Lite's disk: in its log, as data, and during merges


class MilvusStore:
    """A `VectorStore` on Milvus. Safe to use from threads; open it after a fork.

    Args:
        target: a server's URI, or a FILE.db for Milvus Lite, which admits one process.
        space_fingerprint: of `encoder.space.Space`; part of the collections' names.
        embed_dim: the size of an embedding.
        calibration, …: see `search.store.open.StoreOptions`.

    Raises:
        StoreMissingError: there is none, without ``create``.
        SpaceMismatchError: the store holds only embeddings of a different space, or unfinished ones
            of this.
        StoreBusyError: another process holds the file.
        StoreUnavailableError: the server does not answer.
    """

    read_only = False
    in_process = False

    def __init__(
        self,
        target: str,
        space_fingerprint: str,
        embed_dim: int,
        *,
        calibration: Mapping[Modality, Calibration] | None = None,
        prefix: str = "anymodal",
        timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        new_space: bool = False,
        create: bool = True,
        index: str = HNSW,
        locks: WriteLocks | None = None,
        searched: SearchedSpace | None = None,
    ) -> None:
        self._embed_dim = embed_dim
        self._follows = not new_space
        self._file = Path(target) if is_file(target) else None
        if self._file and not create and not self._file.exists():
            raise StoreMissingError.at(target)
        try:
            link = self._link = MilvusLink(
                target, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s
            )
            self._record = ServerRecord(link, prefix)
            self.spaces = frozenset({space_fingerprint})
            self._searched = searched or SearchedSpace(space_fingerprint)
            if self._follows:
                check_searched(self._record, self._searched, link.shown)
            self._segments = segments_collection(embed_dim)
            names = prepare_collections(
                link,
                [self._segments, LOCATIONS, ASSETS, *([WORDS] if link.knows_bm25 else [])],
                prefix=prefix,
                fingerprint=space_fingerprint,
                embed_dim=embed_dim,
                calibration=calibration or {},
                new_space=new_space,
                create=create,
                index=index,
            )
            self._open_parts(names)
            self.locks = self._locks(locks)
            self._link.catch_up()  # a process sees what another wrote before it began
            self._complete_deletions()
        except BaseException:
            self.close()
            raise

    def _open_parts(self, names: Mapping[str, str]) -> None:
        link, segments = self._link, self._segments
        rows = self._rows = MilvusRows(link, names, segments, lambda: self.locks.check())
        self._partitions = rows.partitions
        self._fields = [*segments.scalars, segments.vector]
        self._words = MilvusWords(rows) if link.knows_bm25 else None
        self._calibration = NotedCalibration(link, rows.name(segments))
        self._search = MilvusSearch(rows)
        self._writer = SegmentWriter(rows)
        self._removal = Removal(rows, self._words)

    def _complete_deletions(self) -> None:
        """Complete the deletions, and undo the writes, of a process that was killed."""
        with suppress(StoreError):  # others write, or this user may not: the next one will
            if noted := self._removal.noted():
                with self.locks.of(noted):
                    self._link.catch_up()
                    # Notes made since are of writes that go on, whose locks are not held here.
                    cut_off = sorted(set(noted).intersection(self._removal.noted()))
                    self._removal.complete(cut_off, self.assets(cut_off))
                    self._link.catch_up()

    def _locks(self, shared_locks: WriteLocks | None) -> WriteLocks:
        if self._file:  # Lite keeps other processes out; its files are this process's alone
            return machine_locks(self._file.with_suffix(".locks"))
        name = self._rows.name(ASSETS)
        locks = shared_locks or machine_locks(locks_folder(self._link.shown, name))
        return replace(locks, check=Writers(self._link, name, locks.owner).check)

    @property
    def scoring(self) -> StoredCalibration:
        """Read again every two seconds."""
        return self._calibration.current()

    def stored_calibration(self) -> StoredCalibration:
        return self._calibration.refresh()

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any]) -> None:
        self.check_writable()
        self._calibration.change(constants, origin)

    def index_state(self) -> IndexState | None:
        """How far the vectors' index is built; None on Lite, which compares all."""
        name = self._rows.name(self._segments)
        return None if self._link.is_lite else state_of(self._link, name, self._segments.vector)

    def check_writable(self) -> None:
        self._check_room(0)
        self._check_current()
        self.locks.check()

    def _check_current(self) -> None:
        if self._follows:
            check_current(self._record, self._searched, self._link.shown)

    def _check_room(self, n_bytes: int) -> None:
        if self._file:
            check_room(self._file, n_bytes)

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        stored = [checked_segment(row, self._embed_dim) for row in segments]
        checked = [checked_asset(asset) for asset in assets]
        self._check_current()
        n_bytes = (4 * self._embed_dim + _SCALARS_BYTES) * (len(stored) + len(checked))
        self._check_room(_COPIES * n_bytes)
        former = self._writer.write(checked, stored)
        if stored and self._words:
            self._words.added(stored)
        self._writer.commit(checked, former)
        self._link.catch_up()

    def delete(self, asset_ids: Sequence[str]) -> None:
        self._check_current()
        self._removal.of_assets(asset_ids)
        self._link.catch_up()

    def check(self, progress: Progress) -> Findings:
        self.catch_up()
        return self._check().find(progress)

    def repair(self, findings: Findings) -> None:
        self.check_writable()
        self._check().mend(findings)

    def _check(self) -> MilvusCheck:
        return MilvusCheck(self._rows, self.delete, lambda rows: self.write(rows, []))

    def counted(self, asset_ids: Sequence[str]) -> dict[str, Counter[Modality]]:
        counts = defaultdict[str, Counter[Modality]](Counter)
        for ids in in_batches(list(dict.fromkeys(asset_ids)), _IDS_PER_COUNT):
            of_these = f"{among('asset_id', ids)} and {FIRST_ROWS}"
            for row in self._rows.where(self._segments, of_these, ["asset_id", "modality"]):
                counts[row["asset_id"]][Modality(row["modality"])] += 1
        return counts

    def catch_up(self) -> None:
        self._link.catch_up()
        self._partitions.forget()

    def search(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        *,
        by: Calibration = UNCALIBRATED,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        """Concurrent searches with the same filter share one call."""
        rows = checked_queries(queries, self._embed_dim)
        where = Where(asset_ids, self._expression(filter))
        return self._search.of_kind(rows, modality, limit, by, where)

    def search_mixed(
        self,
        query: Embeddings,
        modalities: Ids[Modality],
        limit: int,
        *,
        by: Constants,
        shift: float = 1.0,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        (row,) = checked_queries(query[None], self._embed_dim)
        where = Where(asset_ids, self._expression(filter))
        return self._search.mixed(row, sorted(set(modalities)), limit, by, shift, where)

    def _expression(self, filter: Filter | None) -> str:
        """The expression that finds the segments of a filter's assets; empty if there is none."""
        if filter is None:
            return ""
        return compile_for_segments(filter, infix=self._link.knows_infix)

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        """A filter is checked on the best 1,000, or, if few pass, on all segments of its assets."""
        if self._words is None:
            raise wordless(self._link)
        if filter is None:
            return self._words.find(text, limit, asset_ids)
        hits = all_hits = self._words.find(text, MAX_FOUND, asset_ids)
        if expression := self._expression(filter):
            hits = self._search.those_of(expression, all_hits)
        is_enough = expression and (len(hits) >= limit or len(all_hits) < MAX_FOUND)
        if is_enough or asset_ids is not None or self.count(filter) > _MAX_JOINED:
            return hits[:limit]
        return self._words.find(text, limit, list(self.select(filter)))

    def frequencies(self, wanted: Ids[str]) -> Frequencies:
        n_texts = self.sizes().get(TEXT, 0)
        return self._words.frequencies(wanted, n_texts) if self._words else Frequencies(n_texts)

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        compiled = self._compiled(filter)
        if filter is None or compiled.exact:
            rows = self._rows.where(ASSETS, compiled.expression, ["asset_id"], limit, after=after)
            return (row["asset_id"] for row in rows)
        rows = self._rows.where(
            ASSETS, compiled.expression, ASSETS.scalars, after=after, at_first=limit or MAX_ROWS
        )
        ids = (row["asset_id"] for row in rows if matches(filter, asset_from_dict(row)))
        return islice(ids, limit)

    def count(self, filter: Filter | None = None) -> int:
        return self._rows.count(ASSETS, self._compiled(filter).expression)

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        rows = self._rows.of(ASSETS, "asset_id", list(dict.fromkeys(asset_ids)))
        return {row["asset_id"]: asset_from_dict(row) for row in rows}

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        uri_of = {uri_key(uri): uri for uri in uris}
        rows = self._rows.of(LOCATIONS, "uri_key", list(uri_of))
        links = [(row["uri_key"], row["asset_id"]) for row in rows]
        rows_by_id = self.assets([asset_id for _, asset_id in links])
        rows_at: dict[str, list[AssetRow]] = {}
        for key, asset_id in sorted(links):
            if (row := rows_by_id.get(asset_id)) and uri_of[key] in row.locations:
                rows_at.setdefault(uri_of[key], []).append(row)
        return rows_at

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        self._link.catch_up()
        expression = self._compiled(filter).expression
        for row in map(asset_from_dict, self._rows.where(ASSETS, expression, ASSETS.scalars)):
            if filter is None or matches(filter, row):
                yield row

    def _compiled(self, filter: Filter | None) -> Compiled:
        return compile_filter(filter, infix=self._link.knows_infix) if filter else _ALL

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        rows = self._rows.where(self._segments, equals("asset_id", asset_id), self._fields)
        return sorted(map(segment_from_dict, rows), key=attrgetter("modality", "index", "row"))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        key, vector = self._segments.key, self._segments.vector
        rows = self._rows.of(self._segments, key, keys, [vector])
        return {row[key]: np.asarray(row[vector], np.float32) for row in rows}

    def sizes(self) -> dict[Modality, int]:
        counts = {Modality(name): self._size(name) for name in self._partitions.modalities()}
        return {modality: n for modality, n in counts.items() if n}

    def _size(self, partition: str) -> int:
        return self._rows.count(self._segments, partitions=[partition])

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """Keys are hashes, so those below a limit are a random sample, and the same each time."""
        key = self._segments.key
        parts = self._partitions.of(modality, look=True)
        size = self._size(modality) if parts else 0
        share = limit / max(size, 1)
        below = f'{key} < "{int(share * 16**8):08x}"' if share < 1 else ""
        rows = [
            row
            for partition in parts
            for row in self._rows.where(self._segments, below, self._fields, partition=partition)
        ]
        return by_segment(map(segment_from_dict, rows), self._embed_dim)[:limit]

    def ping(self) -> None:
        self._link.call("describe_collection", self._rows.name(ASSETS))

    def close(self) -> None:
        for attribute in ("_search", "_link"):  # those that were opened
            if (opened := getattr(self, attribute, None)) is not None:
                opened.close()
