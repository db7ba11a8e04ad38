"""Whether a server builds an index that it accepts, tried before a store is created with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import numpy as np

from encoder.types import Embeddings
from search.errors import StoreError
from search.store.milvus.indexes.kinds import HNSW, METRIC, build_params
from search.store.milvus.indexes.refusals import check_known, refused
from search.store.milvus.indexes.state import state_of
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import chunks

ROWS = 1100
"""Milvus builds no index for fewer than 1,024."""
STALLED_S = 60.0
"""The longest time without progress; 1,100 rows take some seconds."""
_PREFIX = "anymodal_tuning"
_OLD_S = 6 * 3600
"""A collection this old was left by a process that was killed."""
_ROWS_PER_CALL = 500
_PAUSE_S = 0.2


def check_built(link: MilvusLink, index: str, dim: int) -> None:
    """Make the server build an index of random rows; takes about four seconds.

    HNSW is not tried: every server has it.

    Args:
        link: to a server.
        index: as ``ANYMODAL_STORE__INDEX`` names it.
        dim: the length of its rows.

    Raises:
        IndexRefusedError: the server refuses it, or does not build it.
    """
    if index == HNSW:
        return
    _drop_abandoned(link)
    rows = np.random.default_rng(0).standard_normal((ROWS, dim), np.float32)
    with _filled(link, index, rows) as collection:
        _await_index(link, index, collection)


@contextmanager
def _filled(link: MilvusLink, index: str, rows: Embeddings) -> Iterator[str]:
    """The name of a temporary collection of rows [n, dim]. Leaving the block drops it."""
    from pymilvus import DataType, MilvusClient

    check_known(link, index)
    collection = f"{_PREFIX}_{int(time.time()):x}_{uuid4().hex[:8]}"
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("place", DataType.INT64, is_primary=True)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=rows.shape[1])
    params = MilvusClient.prepare_index_params()
    params.add_index("embedding", metric_type=METRIC, **build_params(index))
    try:
        link.call("create_collection", collection, schema=schema)
        try:
            link.call("create_index", collection, params, sync=False)
        except StoreError as error:
            raise refused(link, index, error.problem.rstrip(".")) from error
        for places in chunks(range(len(rows)), _ROWS_PER_CALL):
            link.call(
                "insert",
                collection,
                [{"place": place, "embedding": rows[place]} for place in places],
            )
        yield collection
    finally:
        # A collection that was not created is dropped without an error.
        link.call("drop_collection", collection)


def _await_index(link: MilvusLink, index: str, collection: str) -> None:
    """Return once all rows have the index.

    Milvus 2.3.5 from PyPI accepts DISKANN, fails to build it, says so only in its log, and keeps
    trying.
    """
    link.call("flush", collection)
    before, since_s = -1, time.monotonic()
    while (pending := state_of(link, collection, "embedding").pending) != 0:
        if pending != before:
            before, since_s = pending, time.monotonic()
        waited_s = time.monotonic() - since_s
        if waited_s > STALLED_S:
            why = f"{pending} rows were not indexed in {waited_s:.0f} s; check the server's log"
            raise refused(link, index, why)
        time.sleep(_PAUSE_S)


def _drop_abandoned(link: MilvusLink) -> None:
    """Drop what killed processes have left."""
    for name in link.call("list_collections"):
        made = re.fullmatch(rf"{_PREFIX}_([0-9a-f]+)_[0-9a-f]{{8}}", name)
        if made and time.time() - int(made[1], 16) > _OLD_S:
            with suppress(StoreError):
                link.call("drop_collection", name)
