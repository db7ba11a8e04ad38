"""A collection of a Milvus server that is there for one measurement, and dropped again."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from types import TracebackType
from typing import Any
from uuid import uuid4

import numpy as np

from encoder.types import Embeddings
from search.errors import StoreError
from search.store.milvus.indexes.kinds import build_params, search_params
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import chunks
from search.store.milvus.setup import METRIC, check_index, refused
from search.store.tuning.found import TOP
from search.store.tuning.sample import Sample

_PREFIX = "anymodal_tuning"
_OLD_S = 6 * 3600
"""So old a collection was left by a process that was killed."""
_ROWS_PER_CALL = 500
STALLED_S = 60.0
_ROW_S = 0.002
"""The longest without progress, and more for each row: parts are indexed as a whole."""
_PAUSE_S = 0.2


class Scratch:
    """Leaving the block drops it, whatever happened.

    Args:
        link: to a server.
        index: as ``ANYMODAL_STORE__INDEX`` names it.
        dim: of its rows.

    Raises:
        StoreError: the server makes no such index.
    """

    def __init__(self, link: MilvusLink, index: str, dim: int) -> None:
        self._link, self._index, self._dim = link, index, dim
        self._name = f"{_PREFIX}_{int(time.time()):x}_{uuid4().hex[:8]}"
        self._kind = build_params(index)["index_type"]

    def __enter__(self) -> Scratch:
        check_index(self._link, self._index)
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

    def fill(self, sample: Sample) -> None:
        """Write all rows; they can be searched, and no index has them yet."""
        places: dict[str, list[int]] = {}
        for place, part in enumerate(sample.parts):
            places.setdefault(part, []).append(place)
        for part in places:
            self._link.call("create_partition", self._name, part)
        self._link.call("load_collection", self._name)
        for part, numbers in places.items():
            for some in chunks(numbers, _ROWS_PER_CALL):
                rows = [{"place": place, "embedding": sample.rows[place]} for place in some]
                self._link.call("insert", self._name, rows, partition_name=part)

    def seal(self) -> None:
        """Have the server put all rows into the index.

        Raises:
            IndexRefusedError: it puts none into it for long. Milvus 2.3.5 of PyPI takes DISKANN,
                fails to build it, says so in its log alone, and goes on trying.
        """
        self._link.call("flush", self._name)
        before, since_s = -1, time.monotonic()
        while (left := self._unindexed()) != 0:
            if left != before:
                before, since_s = left, time.monotonic()
            waited_s = time.monotonic() - since_s
            if waited_s > STALLED_S + _ROW_S * left:
                why = f"{left} rows were not indexed in {waited_s:.0f} s; its log may say why"
                raise refused(self._link, self._index, why)
            time.sleep(_PAUSE_S)
        self._link.call("release_collection", self._name)
        self._link.call("load_collection", self._name)

    def _unindexed(self) -> int:
        """Rows without an index; "Finished" is said from the first."""
        state: dict[str, Any] = self._link.call("describe_index", self._name, "embedding")
        return int(state["pending_index_rows"])

    def nearest(self, query: Embeddings, candidates: int, *, strong: bool = False) -> list[int]:
        """The places of the nearest `TOP` rows; ``strong`` sees what was just written."""
        level = "Strong" if strong else "Eventually"
        (found,) = self._link.call(
            "search",
            self._name,
            data=[np.asarray(query, np.float32)],
            anns_field="embedding",
            limit=TOP,
            search_params={
                "metric_type": METRIC,
                "params": search_params(self._kind, TOP, candidates),
            },
            consistency_level=level,
        )
        return [int(hit["id"]) for hit in found]

    def _drop(self) -> None:
        # A collection that was not made is dropped without an error.
        self._link.call("drop_collection", self._name)


def drop_left(link: MilvusLink) -> None:
    """Drop what killed processes have left."""
    for name in link.call("list_collections"):
        made = re.fullmatch(rf"{_PREFIX}_([0-9a-f]+)_[0-9a-f]{{8}}", name)
        if made and time.time() - int(made[1], 16) > _OLD_S:
            with suppress(StoreError):
                link.call("drop_collection", name)
