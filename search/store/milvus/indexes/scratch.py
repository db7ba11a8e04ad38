"""A collection on a Milvus server that exists for one measurement, and is then dropped."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from uuid import uuid4

import numpy as np

from encoder.types import Embeddings
from search.errors import StoreError
from search.store.milvus.indexes.kinds import METRIC, build_params, search_params
from search.store.milvus.indexes.refusals import check_known, refused
from search.store.milvus.indexes.state import IndexState, state_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import chunks

_PREFIX = "anymodal_tuning"
_OLD_S = 6 * 3600
"""A collection this old was left by a process that was killed."""
_ROWS_PER_CALL = 500
STALLED_S = 60.0
_ROW_S = 0.002
"""The longest time without progress, and the extra time per row: parts are indexed as a whole."""
_PAUSE_S = 0.2


class Scratch:
    """A temporary collection. Leaving the block drops it, whatever happened.

    Args:
        link: to a server.
        index: as ``ANYMODAL_STORE__INDEX`` names it.
        dim: the length of its rows.

    Raises:
        StoreError: the server does not build such an index.
    """

    def __init__(self, link: MilvusLink, index: str, dim: int) -> None:
        self._link, self._index, self._dim = link, index, dim
        self._name = f"{_PREFIX}_{int(time.time()):x}_{uuid4().hex[:8]}"
        self._kind = build_params(index)["index_type"]

    def __enter__(self) -> Scratch:
        check_known(self._link, self._index)
        try:
            self._create()
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drop()

    def _create(self) -> None:
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("place", DataType.INT64, is_primary=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self._dim)
        self._link.call("create_collection", self._name, schema=schema)
        params = MilvusClient.prepare_index_params()
        params.add_index("embedding", metric_type=METRIC, **build_params(self._index))
        try:
            self._link.call("create_index", self._name, params, sync=False)
        except StoreError as error:
            raise refused(self._link, self._index, error.problem.rstrip(".")) from error

    def fill(self, rows: Embeddings, parts: Sequence[str] = ()) -> None:
        """Write rows [n, dim]; no index has them yet.

        Args:
            rows: as they are stored.
            parts: the partition of each, if there are several.
        """
        places: dict[str, list[int]] = {}
        for place in range(len(rows)):
            places.setdefault(parts[place] if parts else "", []).append(place)
        for part in filter(None, places):
            self._link.call("create_partition", self._name, part)
        for part, numbers in places.items():
            for some in chunks(numbers, _ROWS_PER_CALL):
                given = [{"place": place, "embedding": rows[place]} for place in some]
                self._link.call("insert", self._name, given, partition_name=part)

    def load(self) -> None:
        """Make the rows searchable, with whatever index they have now."""
        self._link.call("release_collection", self._name)
        self._link.call("load_collection", self._name)

    def seal(self) -> None:
        """Make the server put all rows into the index.

        Raises:
            IndexRefusedError: it adds none for a long time. Milvus 2.3.5 from PyPI accepts DISKANN,
                fails to build it, says so only in its log, and keeps trying.
        """
        self._link.call("flush", self._name)
        before, since_s = -1, time.monotonic()
        while (left := self.state.pending) != 0:
            if left != before:
                before, since_s = left, time.monotonic()
            waited_s = time.monotonic() - since_s
            if waited_s > STALLED_S + _ROW_S * left:
                why = f"{left} rows were not indexed in {waited_s:.0f} s; check the server's log"
                raise refused(self._link, self._index, why)
            time.sleep(_PAUSE_S)

    @property
    def state(self) -> IndexState:
        """How many rows have the index."""
        return state_of(self._link, self._name, "embedding")

    def nearest(
        self, query: Embeddings, candidates: int, *, limit: int, strong: bool = False
    ) -> list[int]:
        """The places of the nearest rows; ``strong`` sees what was just written."""
        level = "Strong" if strong else "Eventually"
        (found,) = self._link.call(
            "search",
            self._name,
            data=[np.asarray(query, np.float32)],
            anns_field="embedding",
            limit=limit,
            search_params={
                "metric_type": METRIC,
                "params": search_params(self._kind, limit, candidates),
            },
            consistency_level=level,
        )
        return [int(hit["id"]) for hit in found]

    def _drop(self) -> None:
        # A collection that was not created is dropped without an error.
        self._link.call("drop_collection", self._name)


def drop_left(link: MilvusLink) -> None:
    """Drop what killed processes have left."""
    for name in link.call("list_collections"):
        made = re.fullmatch(rf"{_PREFIX}_([0-9a-f]+)_[0-9a-f]{{8}}", name)
        if made and time.time() - int(made[1], 16) > _OLD_S:
            with suppress(StoreError):
                link.call("drop_collection", name)
