"""Vector indexes of a server: how each is built, and how far a search looks in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from encoder.errors import InputError
from search.errors import IndexRefusedError
from search.store.milvus.link import MilvusLink

METRIC = "COSINE"
HNSW = "HNSW"
EXACT = "FLAT"
"""Looks at all rows."""
MMAP = "+mmap"
_LEAST_EFFORT = 200
"""The fewest candidates that a search looks at. Of the nearest 10, HNSW found .975 with 88 among
377,000 rows, and all with 408; among 44,000 sealed rows, all with 64, in the same time."""
_MAX_LISTS = 1024
_LINKS = {"M": 16, "efConstruction": 200}


@dataclass(frozen=True)
class IndexKind:
    """Milvus's parameters to build an index, and to search it with a number of candidates."""

    build: Mapping[str, Any]
    search: Callable[[int], Mapping[str, Any]]


KINDS: Mapping[str, IndexKind] = {
    "HNSW": IndexKind(_LINKS, lambda effort: {"ef": effort}),
    "HNSW_SQ": IndexKind(
        {**_LINKS, "sq_type": "SQ8", "refine": True, "refine_type": "FP16"},
        lambda effort: {"ef": effort, "refine_k": 2},
    ),
    "IVF_RABITQ": IndexKind(  # a list for each candidate: neighbours are in many lists
        {"nlist": _MAX_LISTS, "refine": True, "refine_type": "SQ8"},
        lambda effort: {"nprobe": min(effort, _MAX_LISTS), "rbq_query_bits": 8, "refine_k": 4},
    ),
}
"""By Milvus's names."""

_WANTED = f"one of {', '.join(KINDS)}, with {MMAP} to keep it on disk"


def build_params(index: str) -> dict[str, Any]:
    """The index's type and parameters, as Milvus takes them.

    Raises:
        InputError: no such index.

    >>> build_params("HNSW+mmap")["params"]
    {'M': 16, 'efConstruction': 200, 'mmap.enabled': True}
    """
    name, plus, option = index.partition("+")
    if name not in KINDS or plus + option not in ("", MMAP):
        raise InputError("ANYMODAL_STORE__INDEX", got=repr(index), wanted=_WANTED)
    params = {**KINDS[name].build, **({"mmap.enabled": True} if plus else {})}
    return {"index_type": name, "params": params}


def search_params(name: str, limit: int) -> Mapping[str, Any]:
    """How far to look in an index of a kind, for this many rows; nothing for an exact one.

    Args:
        name: the kind's.
        limit: the rows that are wanted.

    >>> search_params("HNSW", 300), search_params("HNSW", 10), search_params("FLAT", 100)
    ({'ef': 600}, {'ef': 200}, {})
    """
    if name not in KINDS:
        return {}
    return KINDS[name].search(max(_LEAST_EFFORT, 2 * limit))


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
