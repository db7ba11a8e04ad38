"""The store in a folder: Milvus Lite keeps the record, and an index next to it answers.

Lite reads all rows into memory when it opens a collection, and scans them for each search. So it is
opened only for writes, and searches are answered from files: SQLite (`embedded.tables`), vectors
and their codes (`embedded.vectors`), words and names (`embedded.texts`). `embedded.side` keeps them
in step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Ids
from functools import partial
from pathlib import Path
from typing import Any

from encoder.space import UNCALIBRATED, Calibration
from encoder.system.disk import check_room
from encoder.system.private import tighten
from encoder.types import Embeddings, Modality
from search.errors import ReadOnlyStoreError
from search.filters import Filter
from search.lexical.index import FoundText
from search.lexical.rarity import Frequencies
from search.store import calibrated
from search.store.calibrated import Constants, StoredCalibration
from search.store.checking import LOST, Findings, Progress
from search.store.checks import checked_asset, checked_queries, checked_segment
from search.store.embedded.checking import IndexCheck
from search.store.embedded.reading import IndexReading
from search.store.embedded.record import Record
from search.store.embedded.side import SIDE, Side
from search.store.embedded.tables import fact
from search.store.lite.in_process import check_whole, start_lite, stop_lite
from search.store.lite.read_only import Mirror, is_read_only, unreadable
from search.store.lite.shared import check_served, is_shared
from search.store.locks import folder_locks, thread_locks
from search.store.milvus.store import MilvusStore
from search.store.overview import Dated, Facets, Order
from search.store.schema import collection_name
from search.types import AssetRow, ScoredSegment, SegmentRow

_FEW_ROWS = 100_000
"""The number of rows of all kinds whose codes are compared within 4 ms."""


class EmbeddedStore:
    """A `VectorStore` in a folder. Safe to use from threads; open it after a fork.

    Processes that share the folder (`anymodal up`) share the index: what one of them wrote is
    visible to the next read of all. Writers wait for one another.

    Args:
        folder: held by this process until `close`, unless `anymodal up` shares it. One that may not
            be written to is mirrored.
        prefix, fingerprint, embed_dim: see `search.store.open`.
        open_record: opens the record in a folder.
        hold: keep other processes from writing. Without it, the folder is held only while the
            record has to be read, and from the first write on.

    Raises:
        StoreError: see `MilvusStore`.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        fingerprint: str,
        embed_dim: int,
        open_record: Callable[[Path], MilvusStore],
        *,
        hold: bool = True,
    ) -> None:
        self._embed_dim, store_name = embed_dim, str(folder)
        self.spaces = frozenset({fingerprint})
        self._is_shared = is_shared(folder)
        self.read_only = is_read_only(folder) and not self._is_shared
        self._mirror = Mirror(folder, SIDE) if self.read_only else None
        if self._mirror:
            folder, hold = self._mirror.folder, False
        self._folder = folder
        self.locks = thread_locks() if self._mirror else folder_locks(folder)
        self._record = Record(folder, prefix, fingerprint, partial(open_record, folder))
        self._held: Path | None = None
        try:
            try:
                _ = self._record.may_be_old
            except OSError as error:
                raise unreadable(folder, error) from error
            if hold and not self._is_shared:
                start_lite(folder)
                self._held = folder
            else:
                tighten(folder)
            if self._record.is_new:
                _ = self._record.store
            index = folder / SIDE / collection_name(prefix, fingerprint, SIDE)
            self._side = Side(index, self._record, embed_dim, store_name, is_linked=self.read_only)
            if not hold and not self.read_only:
                self._record.close()  # it may have been opened to mend the index
        except BaseException:
            self.close()
            raise

    @property
    def _reading(self) -> IndexReading:
        return self._side.current.reading

    @property
    def in_process(self) -> bool:
        """See `VectorStore.in_process`; kinds with many rows are searched in parallel."""
        return self._side.current.views.n_slots <= _FEW_ROWS  # as of the last search

    @property
    def record(self) -> MilvusStore:
        """The store on Milvus Lite, which is right if the index differs."""
        return self._record.store

    @property
    def scoring(self) -> StoredCalibration:
        return self.stored_calibration()

    def stored_calibration(self) -> StoredCalibration:
        with self._side.current.tables.reading() as db:
            return calibrated.read(fact(db, "calibration"))

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any]) -> None:
        self._check_changeable()
        self._side.rewriting()
        self.record.recalibrate(constants, origin)
        self._side.rewritten(self.record.stored_calibration())

    def rewrite(self, progress: Callable[[int, int], object]) -> int:
        self._check_changeable()
        self._side.rewriting()
        n_rows = self.record.rewrite(progress)
        self._side.rewritten(self.record.stored_calibration())
        return n_rows

    def upgrade(self, progress: Callable[[int, int], object]) -> int:
        """See `VectorStore.upgrade`; upgrades the record, from which the index is built anew."""
        self._check_changeable()
        return self.record.upgrade(progress) if self._record.may_be_old else 0

    def _check_changeable(self) -> None:
        if self._mirror:
            raise ReadOnlyStoreError.at(str(self._mirror.store))
        check_whole(self._folder)

    def check(self, progress: Progress) -> Findings:
        """See `search.store.checking.Checkable`: the record, then the index against it."""
        with self._side.exclusively():
            findings = self.record.check(progress)
            IndexCheck(self._side, self._reading).find(self.record, findings, progress)
        return findings

    def repair(self, findings: Findings) -> None:
        """See `search.store.checking.Checkable`; what the record lost comes from the index."""
        self._check_changeable()
        with self._side.exclusively():
            IndexCheck(self._side, self._reading).write_back(self.record, findings.of(LOST))
            left = self.record.check(lambda *_: None)
            self.record.repair(left if findings.counts_matter else left.without_counts())
            self._side.rebuild()

    def counted(self, asset_ids: Sequence[str]) -> dict[str, Counter[Modality]]:
        return self._side.read(lambda files: files.reading.counted(asset_ids))

    def sizes(self) -> dict[Modality, int]:
        return self._reading.sizes()

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        return self._side.read(lambda files: files.reading.sample(modality, limit))

    def check_writable(self) -> None:
        """See `VectorStore.check_writable`; the record is not opened for it."""
        self._check_changeable()
        self._side.check_there()
        check_room(self._folder)

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        stored = [checked_segment(row, self._embed_dim) for row in segments]
        checked = [checked_asset(row) for row in assets]
        ids = [*(row.asset_id for row in checked), *(row.asset_id for row in stored)]
        self._check_changeable()
        self._side.check_there()
        self.record.check_writable()
        with self._side.changing(ids):
            self.record.write(assets, segments)
            self._side.put(checked, stored)

    def delete(self, asset_ids: Sequence[str]) -> None:
        self._check_changeable()
        self._side.check_there()
        if self._record.may_be_old:
            self.record.check_writable()
        with self._side.changing(asset_ids) as keys:
            self.record.delete(asset_ids, keys)
            self._side.remove(asset_ids)

    def catch_up(self) -> None:
        """Do nothing: every read sees all that was written."""

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
        rows = checked_queries(queries, self._embed_dim)
        return self._side.read(
            lambda files: files.reading.of_kind(rows, modality, limit, by, asset_ids, filter)
        )

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
        kinds = sorted(set(modalities))
        return self._side.read(
            lambda files: files.reading.mixed(row, by, kinds, limit, shift, asset_ids, filter)
        )

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Ids[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        return self._side.read(lambda files: files.reading.by_words(text, limit, asset_ids, filter))

    def frequencies(self, wanted: Ids[str]) -> Frequencies:
        return self._side.current.words.frequencies(wanted)

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:
        self._side.current.names.catch_up(is_unwanted)

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        names = self._side.current.names
        if (name_hits := names.find(text, limit)) is None:  # its files were damaged
            names.catch_up()
            name_hits = names.find(text, limit)
        return name_hits or []

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        return self._side.read(lambda files: files.reading.embeddings(asset_id))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        return self._side.read(lambda files: files.reading.vectors(keys))

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        return self._reading.select(filter, limit, after)

    def count(self, filter: Filter | None = None) -> int:
        return self._side.read(lambda files: files.reading.count(filter))

    def facets(self, filter: Filter | None) -> Facets:
        return self._reading.facets(filter)

    def newest(
        self,
        filter: Filter | None,
        limit: int,
        after: Dated,
        reverse: bool = False,
        by: Order = "date",
    ) -> list[Dated]:
        return self._reading.newest(filter, limit, after, reverse, by)

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        return self._side.read(lambda files: files.reading.assets(asset_ids))

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        return self._reading.assets_at(uris)

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        return self._reading.scan(filter)

    def ping(self) -> None:
        if self._is_shared:
            check_served(self._folder)
        self._side.check_there()
        with self._side.current.tables.reading():
            pass

    def close(self) -> None:
        if (side := getattr(self, "_side", None)) is not None:
            side.close()
        self._record.close()
        folder, self._held = self._held, None
        if folder is not None:
            stop_lite(folder)
        if self._mirror:
            self._mirror.close()
