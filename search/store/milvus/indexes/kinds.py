"""Kinds of vector indexes: how each is built, and how far a search looks in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encoder.errors import InputError

METRIC = "IP"
"""Vectors are stored for this metric: see `search.store.calibrated`."""
HNSW = "HNSW"
MMAP = "+mmap"
LEAST_EFFORT = 200
"""The fewest candidates that a search looks at. Of the nearest 10, HNSW found .975 with 88 among
377,000 rows, and all with 408; among 44,000 sealed rows, all with 64, in the same time."""
_MAX_LISTS = 1024
_LINKS = {"M": 16, "efConstruction": 200}
_LINKS_BYTES = 140


@dataclass(frozen=True)
class IndexKind:
    """Milvus's parameters to build an index, and to search it with a number of candidates.

    ``row_bytes`` is what it keeps in memory per row, by its dimensions, calculated from its format.
    An index that is ``on_disk`` anyway cannot be mapped from there.
    """

    build: Mapping[str, Any]
    search: Callable[[int], Mapping[str, Any]]
    row_bytes: Callable[[int], float]
    on_disk: bool = False


def _ef(effort: int) -> Mapping[str, Any]:
    return {"ef": effort}


def _refined_ef(effort: int) -> Mapping[str, Any]:
    return {"ef": effort, "refine_k": 2}


def _lists(effort: int) -> int:
    """How many of `_MAX_LISTS`: one per candidate, since neighbours are in many lists."""
    return min(effort, _MAX_LISTS)


KINDS: Mapping[str, IndexKind] = {
    "HNSW": IndexKind(_LINKS, _ef, lambda dim: 4 * dim + _LINKS_BYTES),
    "HNSW_SQ": IndexKind(
        {**_LINKS, "sq_type": "SQ8", "refine": True, "refine_type": "FP16"},
        _refined_ef,
        lambda dim: 3 * dim + _LINKS_BYTES,
    ),
    "IVF_RABITQ": IndexKind(
        {"nlist": _MAX_LISTS, "refine": True, "refine_type": "SQ8"},
        lambda effort: {"nprobe": _lists(effort), "rbq_query_bits": 8, "refine_k": 4},
        lambda dim: 1.125 * dim,
    ),
    "DISKANN": IndexKind(
        {}, lambda effort: {"search_list": effort}, lambda dim: dim / 2, on_disk=True
    ),
    # Codes of one dimension each: the default of two requires an even number of dimensions, and
    # rows have one more than embeddings.
    "SCANN": IndexKind(
        {"nlist": _MAX_LISTS, "sub_dim": 1},
        lambda effort: {"nprobe": _lists(effort), "reorder_k": effort},
        lambda dim: 4.5 * dim,
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
    name, plus, rest = index.partition("+")
    if name not in KINDS or plus + rest not in ("", MMAP) or (plus and KINDS[name].on_disk):
        raise InputError("ANYMODAL_STORE__INDEX", got=repr(index), wanted=_WANTED)
    params = {**KINDS[name].build, **({"mmap.enabled": True} if plus else {})}
    return {"index_type": name, "params": params}


def row_bytes(index: str, dim: int) -> float:
    """The bytes that an index keeps in memory per row; none if it is mapped from disk.

    >>> row_bytes("HNSW", 385), row_bytes("HNSW+mmap", 385)
    (1680, 0.0)
    """
    name, _, rest = index.partition("+")
    return 0.0 if rest else KINDS[name].row_bytes(dim)


def search_params(name: str, limit: int, least: int = LEAST_EFFORT) -> Mapping[str, Any]:
    """How far to look in an index of a kind, for this many rows; nothing for an exact one.

    Args:
        name: the kind's.
        limit: the rows that are wanted.
        least: the fewest candidates that a search looks at.

    >>> search_params("DISKANN", 100), search_params("HNSW", 10, 64), search_params("FLAT", 100)
    ({'search_list': 200}, {'ef': 64}, {})
    """
    if name not in KINDS:
        return {}
    return KINDS[name].search(max(least, 2 * limit))
