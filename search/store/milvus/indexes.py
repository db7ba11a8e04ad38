"""Vector indexes of a server: how each is built, and how far a search looks in it.

A server may refuse an index, or accept it and never build it. So it builds a small one before a
store is created with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np

from encoder.errors import InputError
from encoder.system.batched import in_batches
from encoder.types import Embeddings
from search.errors import IndexRefusedError, StoreError
from search.store.milvus.link import MilvusLink

METRIC = "IP"
"""Vectors are stored for this metric: see `search.store.calibrated`."""
HNSW = "HNSW"
MMAP = "+mmap"
_LEAST_EFFORT = 200
"""The fewest candidates that a search looks at. Of the nearest 10, HNSW found .975 with 88 among
377,000 rows, and all with 408; among 44,000 sealed rows, all with 64, in the same time."""
_MAX_LISTS = 1024
_LINKS = {"M": 16, "efConstruction": 200}


@dataclass(frozen=True)
class IndexKind:
    """Milvus's parameters to build an index, and to search it with a number of candidates.

    An index that is ``on_disk`` anyway cannot be mapped from there.
    """

    build: Mapping[str, Any]
    search: Callable[[int], Mapping[str, Any]]
    on_disk: bool = False


def _lists(effort: int) -> int:
    """How many of `_MAX_LISTS`: one per candidate, since neighbours are in many lists."""
    return min(effort, _MAX_LISTS)


KINDS: Mapping[str, IndexKind] = {
    "HNSW": IndexKind(_LINKS, lambda effort: {"ef": effort}),
    "HNSW_SQ": IndexKind(
        {**_LINKS, "sq_type": "SQ8", "refine": True, "refine_type": "FP16"},
        lambda effort: {"ef": effort, "refine_k": 2},
    ),
    "IVF_RABITQ": IndexKind(
        {"nlist": _MAX_LISTS, "refine": True, "refine_type": "SQ8"},
        lambda effort: {"nprobe": _lists(effort), "rbq_query_bits": 8, "refine_k": 4},
    ),
    "DISKANN": IndexKind({}, lambda effort: {"search_list": effort}, on_disk=True),
    # Codes of one dimension each: the default of two requires an even number of dimensions, and
    # rows have one more than embeddings.
    "SCANN": IndexKind(
        {"nlist": _MAX_LISTS, "sub_dim": 1},
        lambda effort: {"nprobe": _lists(effort), "reorder_k": effort},
    ),
}
"""By Milvus's names."""

_WANTED = f"one of {', '.join(KINDS)}, with {MMAP} to keep it on disk, as DISKANN always is"


def build_params(index: str) -> dict[str, Any]:
    """The index's type and parameters, as Milvus takes them.

    Raises:
        InputError: no such index.

    >>> build_params("SCANN+mmap")["params"]
    {'nlist': 1024, 'sub_dim': 1, 'mmap.enabled': True}
    """
    name, plus, option = index.partition("+")
    if name not in KINDS or plus + option not in ("", MMAP) or (plus and KINDS[name].on_disk):
        raise InputError("ANYMODAL_STORE__INDEX", got=repr(index), wanted=_WANTED)
    params = {**KINDS[name].build, **({"mmap.enabled": True} if plus else {})}
    return {"index_type": name, "params": params}


def search_params(name: str, limit: int) -> Mapping[str, Any]:
    """How far to look in an index of a kind, for this many rows; nothing for an exact one.

    Args:
        name: the kind's.
        limit: the rows that are wanted.

    >>> search_params("DISKANN", 300), search_params("HNSW", 10), search_params("FLAT", 100)
    ({'search_list': 600}, {'ef': 200}, {})
    """
    if name not in KINDS:
        return {}
    return KINDS[name].search(max(_LEAST_EFFORT, 2 * limit))


def check_known(link: MilvusLink, index: str) -> None:
    """Refuse an index that a server is known to lack, and would not report.

    Raises:
        IndexRefusedError: it lacks the index.
    """
    if index.endswith(MMAP) and not link.knows_mmap:
        raise refused(link, index, "indexes on disk need Milvus 2.4")


def refused(link: MilvusLink, index: str, why: str) -> IndexRefusedError:
    """The error for an index that a server does not build."""
    return IndexRefusedError(
        f"The store {link.shown} (Milvus {link.version}) cannot build the index {index}: {why}.",
        remedy=f"Set ANYMODAL_STORE__INDEX to another index ({', '.join(KINDS)}), or use a newer "
        "server.",
    )


@dataclass(frozen=True)
class IndexState:
    """Rows of sealed parts, as the server counts them; one of fewer than 1,024 needs no index.

    Args:
        kind: Milvus's name for it.
        built: rows that the index has.
        pending: rows that it will get, or never gets where building fails.
    """

    kind: str
    built: int
    pending: int


def state_of(link: MilvusLink, collection: str, field: str) -> IndexState:
    """The state of a field's index. The server's "Finished" means nothing."""
    description: dict[str, Any] = link.call("describe_index", collection, field)
    return IndexState(
        description["index_type"],
        int(description["indexed_rows"]),
        int(description["pending_index_rows"]),
    )


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
        for row_nos in in_batches(range(len(rows)), _ROWS_PER_CALL):
            link.call(
                "insert",
                collection,
                [{"place": row_no, "embedding": rows[row_no]} for row_no in row_nos],
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
    last_pending, since_s = -1, time.monotonic()
    while (pending := state_of(link, collection, "embedding").pending) != 0:
        if pending != last_pending:
            last_pending, since_s = pending, time.monotonic()
        waited_s = time.monotonic() - since_s
        if waited_s > STALLED_S:
            why = f"{pending} rows were not indexed in {waited_s:.0f} s; check the server's log"
            raise refused(link, index, why)
        time.sleep(_PAUSE_S)


def _drop_abandoned(link: MilvusLink) -> None:
    """Drop what killed processes have left."""
    for name in link.call("list_collections"):
        created_s = re.fullmatch(rf"{_PREFIX}_([0-9a-f]+)_[0-9a-f]{{8}}", name)
        if created_s and time.time() - int(created_s[1], 16) > _OLD_S:
            with suppress(StoreError):
                link.call("drop_collection", name)
