"""The spaces of the store at a URI, without opening it: the one searched, and all stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from encoder.errors import InputError
from search.store.embedded.side import SIDE
from search.store.lite.in_process import stop_lite
from search.store.lite.shared import joined
from search.store.milvus.link import MilvusLink
from search.store.milvus.notes import ServerRecord, drop_calibration
from search.store.open import store_target
from search.store.schema import collection_name, segments_collection
from search.store.space_record import FolderRecord, NoRecord, SearchedSpace, SpaceRecord


@contextmanager
def space_record(uri: str | None, prefix: str = "anymodal") -> Iterator[SpaceRecord]:
    """The record of the store that `search.store.open.open_store` opens by this URI."""
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


def stored_spaces(uri: str | None) -> list[str]:
    """The fingerprints of the spaces whose embeddings a store holds, the oldest first."""
    with space_record(uri) as record:
        return record.spaces()


def drop_former(uri: str | None, prefix: str = "anymodal") -> str:
    """Drop the collections of former spaces; return their fingerprints. This cannot be undone.

    Without a former space, those of a move that was not finished.
    """
    target = store_target(uri)
    with _linked(target) as link:
        folder = target if isinstance(target, Path) else None
        record = FolderRecord(folder, prefix) if folder else ServerRecord(link, prefix)
        current = record.read()
        others = sorted(_beside(current)) if current else []
        if not current or not others:
            raise InputError(
                "--drop-former", got="a store with one model", wanted="a store that was moved"
            )
        filling = current.filling if current.former else ""
        record.write(replace(current, former=None, filling=filling))
        for other in others:
            drop_calibration(link, collection_name(prefix, other, segments_collection(1).kind))
            for name in link.call("list_collections"):
                if name.startswith(f"{prefix}_{other}_"):
                    link.call("drop_collection", name)
            if folder:
                index = folder / SIDE / collection_name(prefix, other, SIDE)
                shutil.rmtree(index, ignore_errors=True)
        return ", ".join(others)


def _beside(current: SearchedSpace) -> frozenset[str]:
    """The spaces that are stored for nothing but a way back, or for a move that did not end."""
    others = current.former.spaces if current.former else frozenset({current.filling} - {""})
    return others - current.spaces


@contextmanager
def _linked(target: Path | str) -> Iterator[MilvusLink]:
    uri, is_own = joined(target) if isinstance(target, Path) else (target, False)
    own_folder = target if isinstance(target, Path) and is_own else None
    try:
        link = MilvusLink(
            uri, timeout_s=30.0, connect_timeout_s=10.0, store_name=str(own_folder or "")
        )
        try:
            yield link
        finally:
            link.close()
    finally:
        if own_folder:
            stop_lite(own_folder)
