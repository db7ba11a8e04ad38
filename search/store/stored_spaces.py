"""The spaces of the store at a URI, without opening it: the one searched, and all stored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from encoder.errors import InputError
from search.filters.milvus import among
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
    """Drop the rows of former spaces and lanes; return what was dropped. This cannot be undone.

    Without a former space, those of a move that was not finished.
    """
    target = store_target(uri)
    with _linked(target) as link:
        folder = target if isinstance(target, Path) else None
        record = FolderRecord(folder, prefix) if folder else ServerRecord(link, prefix)
        current = record.read()
        filling = current.filling if current and current.former else ""
        others = sorted({*record.spaces()} - {*filling.split()} - current.spaces) if current else []
        if not current or not (others or current.former):
            raise InputError(
                "--drop-former", got="a store with one model", wanted="a store that was moved"
            )
        record.write(replace(current, former=None, filling=filling))
        for other in others:
            drop_calibration(link, collection_name(prefix, other, segments_collection(1).kind))
            for name in link.call("list_collections"):
                if name.startswith(f"{prefix}_{other}_"):
                    link.call("drop_collection", name)
            if folder:
                index = folder / SIDE / collection_name(prefix, other, SIDE)
                shutil.rmtree(index, ignore_errors=True)
        emptied = [f"{names} in {space}" for space, names in _emptied(link, prefix, current)]
        return ", ".join([*others, *emptied])


def _emptied(link: MilvusLink, prefix: str, current: SearchedSpace) -> Iterator[tuple[str, str]]:
    """Remove the segments of modalities that are searched in another space than they lie in.

    In a folder, the index beside them is built anew when it is opened next.
    """
    for space in sorted(current.spaces) if current.lanes else ():
        is_home = space == current.space
        theirs = among("modality", [m for m, s in current.lanes.items() if (s == space) != is_home])
        theirs = theirs if is_home else f"not ({theirs})"
        collection = collection_name(prefix, space, segments_collection(1).kind)
        link.call("load_collection", collection)
        count = {"filter": theirs, "output_fields": ["count(*)"], **link.freshness()}
        (n_rows,) = link.call("query", collection, **count)
        if n_rows["count(*)"]:
            link.call("delete", collection, filter=theirs)
            if link.is_lite:  # by the number of its last write, the index knows that it differs
                link.call("flush", collection)
            yield space, f"{n_rows['count(*)']} rows"


@contextmanager
def _linked(target: Path | str) -> Iterator[MilvusLink]:
    lite = joined(target) if isinstance(target, Path) else target
    try:
        link = MilvusLink(lite, timeout_s=30.0, connect_timeout_s=10.0, store_name=str(target))
        try:
            yield link
        finally:
            link.close()
    finally:
        if isinstance(target, Path) and not isinstance(lite, str):
            stop_lite(target)
