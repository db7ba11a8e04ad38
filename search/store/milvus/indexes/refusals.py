"""Indexes that a server does not build, and the error that says so."""

from __future__ import annotations

from search.errors import IndexRefusedError
from search.store.milvus.indexes.kinds import KINDS, MMAP
from search.store.milvus.link import MilvusLink


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
