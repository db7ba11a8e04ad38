"""The record of the store at a URI, without opening the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.store.milvus.link import MilvusLink
from search.store.open import store_target
from search.store.spaces.current import FolderRecord, NoRecord, ServerRecord, SpaceRecord


@contextmanager
def space_record(uri: str | None, prefix: str = "anymodal") -> Iterator[SpaceRecord]:
    """The record of the store that `search.store.open.open_store` opens by this URI.

    Raises:
        StoreUnavailableError: the server does not answer.
        InputError: not such a URI.
    """
    target = None if uri == "memory:" else store_target(uri)
    if target is None:
        yield NoRecord()
    elif isinstance(target, Path):
        yield FolderRecord(target, prefix)
    else:
        link = MilvusLink(target, timeout_s=30.0, connect_timeout_s=10.0)
        try:
            yield ServerRecord(link, prefix)
        finally:
            link.close()


def stored_spaces(uri: str | None, prefix: str = "anymodal") -> list[str]:
    """The fingerprints of the spaces whose embeddings a store holds, the oldest first.

    Raises:
        StoreUnavailableError: the server does not answer.
        InputError: not such a URI.
    """
    with space_record(uri, prefix) as record:
        return record.spaces()
