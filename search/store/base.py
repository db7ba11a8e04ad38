"""What a vector store is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from encoder.types import Embeddings, Modality
from search.types import AssetRow, ScoredSegment, SegmentRow


class VectorStore(Protocol):
    """Keeps segments and the commit rows of their assets, for one embedding space.

    Every write is an upsert on a deterministic key. A call that returns has been acknowledged;
    what was written is seen by the next read of the same store object. Errors are `StoreError`.
    """

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store segments first, then the assets' commit rows."""
        ...

    def delete(self, asset_ids: Sequence[str]) -> None:
        """Remove commit rows first, then the segments; unknown ids are ignored."""
        ...

    def search(
        self, queries: Embeddings, modality: Modality, limit: int
    ) -> list[list[ScoredSegment]]:
        """The nearest segments of one modality for each query [n, embed_dim], best first."""
        ...

    def assets(self, asset_ids: Sequence[str]) -> dict[str, AssetRow]:
        """The commit rows of these ids; those that are not stored are missing."""
        ...

    def assets_at(self, uris: Sequence[str]) -> dict[str, list[AssetRow]]:
        """The commit rows of the assets seen at each of these URIs."""
        ...

    def scan(self) -> Iterator[AssetRow]:
        """All commit rows, streamed."""
        ...

    def close(self) -> None:
        """Release files and connections; calling it twice is allowed."""
        ...
