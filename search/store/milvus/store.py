"""The store on Milvus: a server, or a FILE.db that Milvus Lite opens in this process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Ids
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from encoder.system.batched import in_batches
from encoder.system.disk import check_room
from encoder.types import TEXT, Embeddings, Modality
from search.errors import IndexNotReadyError, StoreError, StoreMissingError
from search.filters import Compiled, Filter, compile_filter, matches
from search.filters.milvus import among, compile_for_segments, equals
from search.lexical.index import MAX_FOUND
from search.lexical.rarity import Frequencies
from search.store.calibrated import NO_CONSTANTS, Calibrations, Constants, StoredCalibration
from search.store.checking import (
    INCOMPLETE,
    MISCOUNTED,
    ORPHANED,
    Findings,
    Progress,
    mended,
)
from search.store.checks import checked_asset, checked_queries, checked_segments
from search.store.folders import locks_folder
from search.store.lanes import StoreLanes
from search.store.locks import WriteLocks, machine_locks
from search.store.milvus.checking import MilvusCheck
from search.store.milvus.indexes import HNSW, IndexState, state_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.lite import is_file
from search.store.milvus.notes import ServerRecord, Writers, note_calibration, noted_calibration
from search.store.milvus.rows import MAX_ROWS, MilvusRows
from search.store.milvus.search import N_SIDE_BY_SIDE, MilvusSearch, Where
from search.store.milvus.setup import prepare_store
from search.store.milvus.words import MilvusWords
from search.store.milvus.writing import MilvusWriter
from search.store.scanning import Scanning
from search.store.schema import (
    ASSETS,
    LOCATIONS,
    asset_from_dict,
    modality_of,
    segment_from_dict,
    segments_collection,
    uri_key,
)
from search.store.several import FIRST_ROWS, by_segment
from search.store.space_record import check_current, searched_in
from search.types import AssetRow, ScoredSegment, SegmentRow

_SCALARS_BYTES = 2048  # the usual size of a row without its embedding
_IDS_PER_COUNT = 200
_UNCOUNTED_AT_ONCE = 1000
_MAX_JOINED = 2000  # the most assets whose texts are searched by their ids
_ALL = Compiled("", True)
_COPIES = 3  # of a row on Lite's disk: in its log, as data, and during merges


class MilvusStore(Scanning):
    """A `VectorStore` on Milvus. Safe to use from threads; open it after a fork.

    Args:
        target: a server's URI, or a FILE.db for Milvus Lite, which admits one process.
        lanes: that are searched and written to, or filled; a size of 0 is read from the store.
        encoder, …: see `search.store.open.StoreOptions`.

    Raises:
        StoreMissingError: there is none, without ``create`` or with `search.store.lanes.Filling`.
        SpaceMismatchError: the store is searched in other lanes, and these are not filled.
        StoreBusyError: another process holds the file.
        StoreUnavailableError: the server does not answer.
        ModelError: the store noted the probes of another model.
    """

    read_only = False
    in_process = False

    def __init__(
        self,
        target: str,
        lanes: StoreLanes,
        *,
        encoder: Mapping[str, Any] | None = None,
        prefix: str = "anymodal",
        timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        create: bool = True,
        index: str = HNSW,
        locks: WriteLocks | None = None,
    ) -> None:
        super().__init__()
        self._file = Path(target) if is_file(target) else None
        if self._file and (lanes.filling or not create) and not self._file.exists():
            raise StoreMissingError.at(target)
        try:
            link = self._link = MilvusLink(
                target, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s
            )
            record, searched = ServerRecord(link, prefix), searched_in(lanes, encoder or {})
            self.lanes, begun = prepare_store(
                link, lanes, record, searched, prefix=prefix, create=create, index=index
            )
            self._check_current: Callable[[], object] = (
                bool if lanes.filling else partial(check_current, record, searched, link.shown)
            )
            self._rows = MilvusRows(link, prefix, index, lambda: self.locks.check())
            self._open_parts()
            self.locks = self._locks(locks)
            self._link.catch_up()  # a process sees what another wrote before it began
            self._complete_deletions()
            with suppress(StoreError):  # this user may not write; a check finds what is missing
                for space in begun:
                    self._uncount(space)
        except BaseException:
            self.close()
            raise

    def _open_parts(self) -> None:
        link, rows, lanes = self._link, self._rows, self.lanes
        self._segments = {space: segments_collection(space) for space in lanes.spaces}
        texts = lanes.space(TEXT).fingerprint
        words = self._words = MilvusWords(rows, texts) if link.knows_bm25 else None
        self.calibrations = Calibrations(
            lanes.home.fingerprint,
            lambda space: noted_calibration(link, rows.name(self._segments[space])),
        )
        self._threads = ThreadPoolExecutor(N_SIDE_BY_SIDE, "milvus-search")
        self._searches = {
            space: MilvusSearch(rows, segments, self._threads)
            for space, segments in self._segments.items()
        }
        self._writer = MilvusWriter(rows, lanes, words)

    def _complete_deletions(self) -> None:
        """Complete the deletions, and undo the writes, of a process that was killed."""
        with suppress(StoreError):  # others write, or this user may not: the next one will
            if noted := self._writer.cut_off():
                with self.locks.of(noted):
                    self._link.catch_up()
                    # Notes made since are of writes that go on, whose locks are not held here.
                    cut_off = sorted(set(noted).intersection(self._writer.cut_off()))
                    self._writer.complete(cut_off, self.assets(cut_off))
                    self._link.catch_up()

    def _locks(self, shared_locks: WriteLocks | None) -> WriteLocks:
        if self._file:  # Lite keeps other processes out; its files are this process's alone
            return machine_locks(self._file.with_suffix(".locks"))
        name = self._rows.name(ASSETS)
        locks = shared_locks or machine_locks(locks_folder(self._link.shown, name))
        return replace(locks, check=Writers(self._link, name, locks.owner).check)

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any], space: str = "") -> None:
        self.check_writable()
        name = self._rows.name(self._segments[space or self.lanes.home.fingerprint])
        note_calibration(self._link, name, StoredCalibration(constants, origin))
        self.calibrations.forget()

    def index_state(self) -> IndexState | None:
        """How far the vectors' indexes are built; None on Lite, which compares all."""
        if self._link.is_lite:
            return None
        states = [
            state_of(self._link, self._rows.name(segments), segments.vector)
            for segments in self._segments.values()
        ]
        built, pending = (sum(getattr(s, name) for s in states) for name in ("built", "pending"))
        return IndexState(states[0].kind, built, pending)

    def check_writable(self) -> None:
        self._check_room(0)
        self._check_current()
        self.locks.check()

    def _check_room(self, n_bytes: int) -> None:
        if self._file:
            check_room(self._file, n_bytes)

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        stored = checked_segments(segments, self.lanes)
        checked = [checked_asset(asset) for asset in assets]
        self._check_current()
        n_bytes = sum(4 * row.embedding.size + _SCALARS_BYTES for row in stored)
        self._check_room(_COPIES * (n_bytes + _SCALARS_BYTES * len(checked)))
        self._writer.write(checked, stored)
        self._link.catch_up()

    def delete(self, asset_ids: Sequence[str]) -> None:
        self._check_current()
        if self.lanes.filling:
            self.empty(asset_ids)
        else:
            self._writer.remove(asset_ids)
            self._link.catch_up()

    def empty(self, asset_ids: Sequence[str]) -> None:
        filling = self.lanes.filling
        self._writer.remove_segments(asset_ids, filling.modalities if filling else ())
        self._link.catch_up()

    def stored_lanes(self) -> set[tuple[str, Modality]]:
        return {
            (str(segments.space), modality)
            for segments in self._rows.segments_of_all()
            for modality in self._rows.partitions(segments).modalities()
        }

    def drop(self, space: str, modality: Modality) -> int:
        self.check_writable()
        self._uncount(space, modality)
        with self.locks.whole():
            self._link.catch_up()
            return self._writer.remove_lane(space, modality)

    def _uncount(self, space: str, modality: Modality | None = None) -> None:
        """Have nobody count what is in a space, of a modality or of all, any more."""
        for ids in in_batches(self.select(None), _UNCOUNTED_AT_ONCE):
            with self.locks.of(ids):
                self._link.catch_up()
                self._writer.uncount(ids, space, modality)

    def check(self, progress: Progress) -> Findings:
        self.catch_up()
        return MilvusCheck(self._rows, self.lanes, self._words).find(progress)

    def repair(self, findings: Findings) -> None:
        self.check_writable()
        lost = findings.of(INCOMPLETE)
        rows = self.assets([*lost, *findings.of(MISCOUNTED)])
        self._writer.remove_segments(lost)
        self.write(mended(findings, rows, self.counted(list(rows))), [])
        self.delete(findings.of(ORPHANED))
        MilvusCheck(self._rows, self.lanes, self._words).mend(findings)

    def counted(self, asset_ids: Sequence[str]) -> dict[str, Counter[Modality]]:
        counts = defaultdict[str, Counter[Modality]](Counter)
        for ids in in_batches(list(dict.fromkeys(asset_ids)), _IDS_PER_COUNT):
            of_these = f"{among('asset_id', ids)} and {FIRST_ROWS}"
            for row in self._where(of_these, ["asset_id", "modality"]):
                counts[row["asset_id"]][modality_of(row)] += 1
        return counts

    def _where(self, expression: str, fields: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The segments in these lanes for which an expression holds, with their vectors."""
        for space, segments in self._segments.items():
            for row in self._rows.where(segments, expression, fields or segments.with_vector):
                if self.lanes.has(space, modality_of(row)):
                    yield row

    def catch_up(self) -> None:
        self._link.catch_up()
        self._rows.forget_partitions()

    def search(
        self,
        queries: Embeddings,
        modalities: Ids[Modality],
        limit: int,
        *,
        by: Constants = NO_CONSTANTS,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        """Concurrent searches with the same filter share one call."""
        if not (kinds := sorted(set(modalities))):
            return [[] for _ in queries]
        space = self.lanes.space(kinds[0])
        rows = checked_queries(queries, space.embed_dim)
        where = Where(asset_ids, self._expression(filter))
        return self._searches[space.fingerprint].nearest(rows, kinds, limit, by, where)

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
            raise IndexNotReadyError(
                f"The store {self._link.shown} (Milvus {self._link.version}) has no search by "
                "words, so only meaning and names counted.",
                "Use Milvus 2.5 or later, or a folder as --store.",
            )
        if filter is None:
            return self._words.find(text, limit, asset_ids)
        hits = all_hits = self._words.find(text, MAX_FOUND, asset_ids)
        if expression := self._expression(filter):
            texts = self._searches[self.lanes.space(TEXT).fingerprint]
            hits = texts.those_of(expression, all_hits)
        is_enough = expression and (len(hits) >= limit or len(all_hits) < MAX_FOUND)
        if is_enough or asset_ids is not None or self.count(filter) > _MAX_JOINED:
            return hits[:limit]
        return self._words.find(text, limit, list(self.select(filter)))

    def frequencies(self, index_terms: Ids[str]) -> Frequencies:
        n_texts = self.sizes().get(TEXT, 0)
        return (
            self._words.frequencies(index_terms, n_texts) if self._words else Frequencies(n_texts)
        )

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
        ids = (row["asset_id"] for row in rows if matches(filter, asset_from_dict(row, self.lanes)))
        return islice(ids, limit)

    def count(self, filter: Filter | None = None) -> int:
        return self._rows.count(ASSETS, self._compiled(filter).expression)

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        rows = self._rows.of(ASSETS, "asset_id", list(dict.fromkeys(asset_ids)))
        return {row["asset_id"]: asset_from_dict(row, self.lanes) for row in rows}

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
        for fields in self._rows.where(ASSETS, expression, ASSETS.scalars):
            row = asset_from_dict(fields, self.lanes)
            if filter is None or matches(filter, row):
                yield row

    def _compiled(self, filter: Filter | None) -> Compiled:
        return compile_filter(filter, infix=self._link.knows_infix) if filter else _ALL

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        rows = self._where(equals("asset_id", asset_id))
        return sorted(map(segment_from_dict, rows), key=attrgetter("modality", "index", "row"))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        vectors: dict[str, Embeddings] = {}
        for space, segments in self._segments.items():
            key, vector = segments.key, segments.vector
            for row in self._rows.of(segments, key, keys, ["modality", vector]):
                if self.lanes.has(space, modality_of(row)):
                    vectors[row[key]] = np.asarray(row[vector], np.float32)
        return vectors

    def sizes(self) -> dict[Modality, int]:
        counts = {
            modality: self._rows.count(segments, partitions=[modality])
            for space, segments in self._segments.items()
            for modality in self._rows.partitions(segments).modalities()
            if self.lanes.has(space, modality)
        }
        return {modality: n for modality, n in counts.items() if n}

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """Keys are hashes, so those below a limit are a random sample, and the same each time."""
        space = self.lanes.space(modality)
        segments = self._segments[space.fingerprint]
        parts = self._rows.partitions(segments).of(modality, look=True)
        size = self._rows.count(segments, partitions=parts[:1]) if parts else 0
        share = limit / max(size, 1)
        below = f'{segments.key} < "{int(share * 16**8):08x}"' if share < 1 else ""
        rows = [
            row
            for partition in parts
            for row in self._rows.where(segments, below, segments.with_vector, partition=partition)
        ]
        return by_segment(map(segment_from_dict, rows), space.embed_dim)[:limit]

    def ping(self) -> None:
        self._link.call("describe_collection", self._rows.name(ASSETS))

    def close(self) -> None:
        if threads := getattr(self, "_threads", None):  # what was opened
            threads.shutdown()
        if link := getattr(self, "_link", None):
            link.close()
