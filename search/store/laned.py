"""Several stores as one: the segments of some modalities live in spaces of their own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from encoder.errors import InputError
from encoder.space import UNCALIBRATED, Calibration
from encoder.system.batched import in_batches
from encoder.types import Embeddings, Modality
from search.filters import Filter
from search.lexical.rarity import Frequencies
from search.store.base import Facts, VectorStore
from search.store.calibrated import StoredCalibration
from search.store.checking import INCOMPLETE, MISCOUNTED, ORPHANED, Checkable, Findings, Progress
from search.store.locks import WriteLocks
from search.types import AssetRow, ScoredSegment, SegmentRow

_AT_ONCE = 500


class LanedStore:
    """A `VectorStore` of lanes, each a store of its own space. Safe to use from threads.

    The home store has texts, their words, names and places; an asset is stored once its commit row
    is there. That of another lane counts the asset's segments there. Writes reach the home store
    last, and deletions first, so that what is cut off never shows. The next ingest completes a
    write; `check` finds what a deletion has left, and `repair` removes it.

    Args:
        home: of texts, and of all modalities that have no other.
        others: by modality.
    """

    def __init__(self, home: VectorStore, others: Mapping[Modality, VectorStore]) -> None:
        self.home = home
        self._of = {modality: store for modality, store in others.items() if store is not home}
        self._others = list({id(store): store for store in self._of.values()}.values())

    def of(self, modality: Modality) -> VectorStore:
        """The store of a modality's segments."""
        return self._of.get(modality, self.home)

    def __getattr__(self, name: str) -> Any:
        """What some stores can do beyond the interface is the home store's to do."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.home, name)

    @property
    def spaces(self) -> frozenset[str]:
        return frozenset[str]().union(*(store.spaces for store in self._all))

    @property
    def _all(self) -> list[VectorStore]:
        return [self.home, *self._others]

    # Constants

    @property
    def scoring(self) -> StoredCalibration:
        """The home store's, with the constants of other modalities from their own stores."""
        state = self.home.scoring
        constants = {m: c for m, c in state.constants.items() if m not in self._of}
        for modality, store in self._of.items():
            constants.update({m: c for m, c in store.scoring.constants.items() if m == modality})
        return replace(state, constants=constants)

    def stored_calibration(self) -> StoredCalibration:
        return self.home.stored_calibration()

    def recalibrate(self, constants: Mapping[Modality, Calibration], origin: Facts) -> None:
        """Each store keeps the constants of the modalities that it does not hold."""
        for store in self._all:
            own = {m: c for m, c in constants.items() if self.of(m) is store}
            if own:
                store.recalibrate({**store.stored_calibration().constants, **own}, origin)

    # Writing

    @property
    def locks(self) -> WriteLocks:
        return self.home.locks

    @property
    def read_only(self) -> bool:
        return any(store.read_only for store in self._all)

    def check_writable(self) -> None:
        for store in self._all:
            store.check_writable()

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        for store in self._others:
            own = [row for row in segments if self.of(row.modality) is store]
            if rows := rows_of_lane(store, assets, own):
                store.write(rows, own)
        self.home.write(assets, [row for row in segments if self.of(row.modality) is self.home])

    def delete(self, asset_ids: Sequence[str]) -> None:
        for store in self._all:
            store.delete(asset_ids)

    def catch_up(self) -> None:
        for store in self._all:
            store.catch_up()

    # Reading segments

    @property
    def in_process(self) -> bool:
        return all(store.in_process for store in self._all)

    def sizes(self) -> Mapping[Modality, int]:
        sizes = {m: n for m, n in self.home.sizes().items() if m not in self._of}
        for modality, store in self._of.items():
            sizes.update({m: n for m, n in store.sizes().items() if m == modality})
        return sizes

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        return self.of(modality).sample(modality, limit)

    def search(
        self,
        queries: Embeddings,
        modality: Modality,
        limit: int,
        *,
        by: Calibration = UNCALIBRATED,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        store = self.of(modality)
        return store.search(queries, modality, limit, by=by, asset_ids=asset_ids, filter=filter)

    def search_mixed(
        self,
        query: Embeddings,
        modalities: Collection[Modality],
        limit: int,
        *,
        by: Mapping[Modality, Calibration],
        shift: float = 1.0,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        """The modalities are of one lane: a query has a vector for each."""
        (store,) = {id(self.of(m)): self.of(m) for m in modalities}.values()
        return store.search_mixed(
            query, modalities, limit, by=by, shift=shift, asset_ids=asset_ids, filter=filter
        )

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        return self.home.lexical(text, limit, asset_ids=asset_ids, filter=filter)

    def frequencies(self, wanted: Collection[str]) -> Frequencies:
        return self.home.frequencies(wanted)

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        rows = [
            row
            for store in self._all
            for row in store.embeddings(asset_id)
            if self.of(row.modality) is store
        ]
        return sorted(rows, key=lambda row: (row.modality, row.index, row.row))

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        vectors: dict[str, Embeddings] = {}
        for store in self._all:
            if missing := [key for key in keys if key not in vectors]:
                vectors.update(store.vectors(missing))
        return vectors

    # Reading assets

    def select(
        self, filter: Filter | None, *, limit: int | None = None, after: str = ""
    ) -> Iterator[str]:
        return self.home.select(filter, limit=limit, after=after)

    def count(self, filter: Filter | None = None) -> int:
        return self.home.count(filter)

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        return self.home.assets(asset_ids)

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        return self.home.assets_at(uris)

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        return self.home.scan(filter)

    # Proof

    def check(self, progress: Progress) -> Findings:
        """What each store finds, and where they contradict each other.

        The home store's commit rows count the segments of all lanes, each where it is searched. One
        that counts none is of an asset that the next ingest reads again.

        Raises:
            InputError: the stores are not durable.
        """
        findings = Findings()
        for store in self._all:
            of_lane = _checkable(store).check(progress)
            for difference, wrong in of_lane.without_counts().wrong.items():
                findings.wrong.setdefault(difference, {}).update(wrong)
            for rows in in_batches(store.scan(), _AT_ONCE):
                if store is self.home:
                    self._count(rows, findings)
                    continue
                at_home = self.home.assets([row.asset_id for row in rows])
                for row in rows:
                    if row.asset_id not in at_home:
                        findings.add(ORPHANED, row.asset_id, *row.locations[:1])
        return findings

    def _count(self, rows: Sequence[AssetRow], findings: Findings) -> None:
        counts = self.counted([row.asset_id for row in rows])
        findings.n_assets += len(rows)
        for row in rows:
            n = counts[row.asset_id].total()
            findings.n_segments += n
            if row.n_segments and n != row.n_segments:
                difference = INCOMPLETE if n < row.n_segments else MISCOUNTED
                findings.add(difference, row.asset_id, *row.locations[:1])

    def counted(self, asset_ids: Sequence[str]) -> Mapping[str, Counter[Modality]]:
        """See `Checkable.counted`; each modality is counted in its lane alone."""
        counts = defaultdict[str, Counter[Modality]](Counter)
        for store in self._all:
            for asset_id, of_store in _checkable(store).counted(asset_ids).items():
                own = {m: n for m, n in of_store.items() if self.of(m) is store}
                counts[asset_id].update(own)
        return counts

    def repair(self, findings: Findings) -> None:
        """Mend what `check` has just found."""
        incomplete = self.home.assets(findings.of(INCOMPLETE))
        self.delete([*findings.of(INCOMPLETE), *findings.of(ORPHANED)])
        # Tags and locations stay, and the next ingest reads what counts no segments.
        self.home.write([replace(row, n_segments=0) for row in incomplete.values()], [])
        miscounted = findings.of(MISCOUNTED)
        counts = self.counted(miscounted)
        rows = self.home.assets(miscounted).values()
        self.home.write([replace(r, n_segments=counts[r.asset_id].total()) for r in rows], [])
        for store in map(_checkable, self._all):
            own = store.check(lambda _done, _all: None).without_counts()
            if own.wrong:
                store.repair(own)

    def ping(self) -> None:
        for store in self._all:
            store.ping()

    def close(self) -> None:
        for store in self._all:
            store.close()


def _checkable(store: VectorStore) -> Checkable:
    if not isinstance(store, Checkable):
        raise InputError("store", got="memory:", wanted="a folder, or a Milvus server's address")
    return store


def rows_of_lane(
    store: VectorStore, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]
) -> list[AssetRow]:
    """Commit rows that count an asset's segments in this lane; none if it has none there."""
    n_new = Counter(row.asset_id for row in segments if not row.row)
    stored = store.assets([row.asset_id for row in assets])
    n_segments = {asset_id: row.n_segments for asset_id, row in stored.items()} | dict(n_new)
    return [
        replace(row, n_segments=n_segments[row.asset_id])
        for row in assets
        if row.asset_id in n_segments
    ]
