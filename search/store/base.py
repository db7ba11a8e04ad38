"""The interface of vector stores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from encoder.types import Embeddings, Modality
from search.filters import Filter
from search.lexical.index import FoundText
from search.lexical.rarity import Frequencies
from search.store.calibrated import NO_CONSTANTS, Calibrations, Constants
from search.store.lanes import StoreLanes
from search.store.locks import WriteLocks
from search.store.overview import Dated, Facets, Order
from search.types import AssetRow, ScoredSegment, SegmentRow


class VectorStore(Protocol):
    """Keeps segments and the commit rows of their assets.

    Segments of a modality lie in one space, those of others perhaps in others: these are the lanes.
    All lanes share commit rows, locations and names. A segment may have several vectors, one
    `SegmentRow` each. It is found once, by the best.

    Every write is an upsert on a deterministic key. A call that has returned is acknowledged;
    what it wrote is visible to the next read of the same store object, and what others wrote to
    reads after `catch_up`, or after 5 s. Errors are `StoreError`.
    """

    @property
    def lanes(self) -> StoreLanes:
        """Where segments are searched and written."""

    @property
    def calibrations(self) -> Calibrations:
        """By their constants hits in the spaces of the lanes are scored.

        They were shipped by the model when the space was new, or measured since. Changes by other
        processes apply within two seconds.
        """

    @property
    def locks(self) -> WriteLocks:
        """The locks of all who write to this store; see `search.store.locks.exclusive`."""

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any], space: str = "") -> None:
        """Score a space by different constants from now on; no row changes.

        ``origin`` says where they came from; see `search.store.calibrated`.
        """

    def sizes(self) -> Mapping[Modality, int]:
        """The number of segments of each modality that has any. Cheap."""

    def sample(self, modality: Modality, limit: int) -> Embeddings:
        """Unit rows [n, n_rows, embed_dim] of at most ``limit`` segments, evenly over the store."""

    @property
    def in_process(self) -> bool:
        """Whether this process looks up everything itself, in milliseconds if nothing is filtered.

        Handing that to threads would take longer than it saves.
        """

    @property
    def read_only(self) -> bool:
        """Whether this process may search but not write; writes raise `DiskError`."""

    def check_writable(self) -> None:
        """Raise a `DiskError` if a write is known to fail: the disk is full, or read-only."""

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store segments first, then the assets' commit rows.

        What depends on what is stored is written in a block of `search.store.locks.exclusive`.

        A store whose lanes are filled (`search.store.lanes.Filling`) takes segments of assets that
        are stored, and what their rows count; nothing else changes.
        """

    def delete(self, asset_ids: Sequence[str]) -> None:
        """Remove commit rows first, then the segments of all lanes; unknown ids are ignored.

        Of lanes that are filled, segments alone are removed.
        """

    def empty(self, asset_ids: Sequence[str]) -> None:
        """Remove the segments of these assets from these lanes, or from those that are filled.

        Commit rows stay, and count what they did: for a write that stores fewer segments.
        """

    def catch_up(self) -> None:
        """Make everything written so far, by anyone, visible to the next reads of this object.

        On a server, the first of them waits for its next time tick, up to 200 ms.
        """

    def search(
        self,
        queries: Embeddings,
        modalities: Collection[Modality],
        limit: int,
        *,
        by: Constants = NO_CONSTANTS,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[list[ScoredSegment]]:
        """The nearest segments of each modality, in one list for each query, best first.

        A list goes on behind the best ``limit`` of all, with what else is among the best ``limit``
        of each modality.

        Args:
            queries: [n, embed_dim].
            modalities: of one lane.
            limit: the most segments of each modality.
            by: ranks by ``(cosine - mu) / c``; of one modality whose segments have one row each,
                the order is that of the cosines, whatever the constants are.
            asset_ids: only segments of these assets; all of them, up to the limit.
            filter: leave out segments of other assets, as far as the store can apply it; check
                what is found.
        """

    def lexical(
        self,
        text: str,
        limit: int,
        *,
        asset_ids: Collection[str] | None = None,
        filter: Filter | None = None,
    ) -> list[ScoredSegment]:
        """The segments whose text holds words of ``text``, best first, ties by id; 1,000 at most.

        They are of any modality; ``cosine`` holds their BM25 score, which is above 0. ``asset_ids``
        and ``filter`` are as in `search`.
        """

    def frequencies(self, index_terms: Collection[str]) -> Frequencies:
        """How many texts there are, and how many hold each of these index terms, about.

        Of the texts that the last `lexical` knew. Cheap.
        """

    def embeddings(self, asset_id: str) -> list[SegmentRow]:
        """All segments of one asset with their embeddings, by modality, index and row."""

    def vectors(self, keys: Sequence[str]) -> dict[str, Embeddings]:
        """The embeddings [embed_dim] of these rows; those that are not stored are missing.

        Keys are those of `search.types.row_key`; a segment's id is that of its row 0.
        """

    def select(
        self,
        filter: Filter | None,
        *,
        limit: int | None = None,
        after: str = "",
    ) -> Iterator[str]:
        """The ids beyond ``after`` of all assets for which a filter holds, in their order."""

    def count(self, filter: Filter | None = None) -> int:
        """The number of assets; with a filter, an upper bound of its matches. Cheap."""

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """The commit rows of these ids; those that are not stored are missing."""

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """The commit rows of the assets seen at each of these URIs."""

    def scan(self, filter: Filter | None = None) -> Iterator[AssetRow]:
        """All commit rows for which a filter holds, streamed in the order of their ids."""

    @property
    def has_overview(self) -> bool:
        """Whether dates, arrivals and counts are kept in tables; else all commit rows are read."""

    def newest(
        self,
        filter: Filter | None,
        limit: int,
        after: Dated,
        reverse: bool = False,
        by: Order = "date",
    ) -> list[Dated]:
        """The newest assets for which a filter holds, or those that arrived last.

        See `search.store.overview.newest_of`. Where no arrivals are known, dates count.
        """

    def facets(self, filter: Filter | None) -> Facets:
        """Counts of the assets for which a filter holds, of 100,000 at most if they are read."""

    def read_names(self, is_unwanted: Callable[[], bool]) -> None:
        """Bring the index behind `named` up to date.

        Args:
            is_unwanted: whether to stop early; called from time to time.
        """

    def named(self, text: str, limit: int) -> Sequence[FoundText]:
        """Ids of the assets whose `search.lexical.names.text_of` fits best, and their notes."""

    def ping(self) -> None:
        """Return if the store answers, or raise `StoreError`."""

    def close(self) -> None:
        """Release files and connections; calling it twice is allowed."""
