"""Remove what a store holds for its former model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from encoder.errors import InputError
from search.store.embedded.side import SIDE
from search.store.lite.in_process import start_lite, stop_lite
from search.store.lite.shared import served
from search.store.milvus.link import MilvusLink
from search.store.open import store_target
from search.store.schema import collection_name
from search.store.spaces.current import FolderRecord, ServerRecord


def drop_former(uri: str | None, prefix: str = "anymodal") -> str:
    """Drop the collections of the former space; return its fingerprint. This cannot be undone.

    Raises:
        InputError: there is no former space.
        StoreBusyError: another process holds the folder.
        StoreUnavailableError: the server does not answer.
    """
    target = store_target(uri)
    with _linked(target) as link:
        record = FolderRecord(target) if isinstance(target, Path) else ServerRecord(link, prefix)
        current = record.read()
        if current is None or current.former is None:
            raise InputError(
                "--drop-former", got="a store with one model", wanted="a store that was moved"
            )
        former = current.former.space
        record.write(replace(current, former=None))
        for name in link.call("list_collections"):
            if name.startswith(f"{prefix}_{former}_"):
                link.call("drop_collection", name)
        if isinstance(target, Path):
            shutil.rmtree(target / SIDE / collection_name(prefix, former, SIDE), ignore_errors=True)
        return former


@contextmanager
def _linked(target: Path | str) -> Iterator[MilvusLink]:
    server = served(target) if isinstance(target, Path) else None
    own = target if isinstance(target, Path) and not server else None
    uri = start_lite(own) if own else server.uri if server else str(target)
    try:
        link = MilvusLink(uri, timeout_s=30.0, connect_timeout_s=10.0, shown=str(own or ""))
        try:
            yield link
        finally:
            link.close()
    finally:
        if own:
            stop_lite(own)
