"""The embedded store, queried as `benchmarks.scale.peers` are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scale.corpus import SPACE
from benchmarks.scale.protocol import LIMIT, Rows, main
from encoder.types import IMAGE
from search import open_store
from search.filters import parse_filter
from search.store.schema import segment_id
from search.types import AssetRow, SegmentRow

_TENTH = parse_filter({"field": "tags", "contains": "tenth"})


class Ours:
    """A folder; see `benchmarks.scale.protocol.Peer`."""

    def __init__(self, folder: Path) -> None:
        self._store = open_store(str(folder), SPACE.fingerprint, SPACE.embed_dim)

    def add(self, ids: Sequence[int], rows: Rows, tenth: Sequence[bool]) -> None:
        """See `benchmarks.scale.protocol.Peer`."""
        assets, segments = [], []
        for number, row, has in zip(ids, rows, tenth, strict=True):
            asset_id = f"{number:08x}"
            about = {"tags": ["tenth"] if has else []}
            place = [f"/data/{number}.jpg"]
            assets.append(AssetRow(asset_id, IMAGE, "image/jpeg", 1000, 1, place, about))
            key = segment_id(asset_id, IMAGE, 0, SPACE.fingerprint)
            segments.append(SegmentRow(key, asset_id, IMAGE, 0, row))
        self._store.write(assets, segments)

    def finish(self) -> None:
        """See `benchmarks.scale.protocol.Peer`."""
        self._store.close()

    def nearest(self, query: Rows, tenth: bool) -> list[int]:
        """See `benchmarks.scale.protocol.Peer`."""
        (found,) = self._store.search(query[None], IMAGE, LIMIT, filter=_TENTH if tenth else None)
        return [int(one.asset_id, 16) for one in found]


if __name__ == "__main__":
    main({"ours": Ours})
