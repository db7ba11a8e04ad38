"""The spaces of the store at a URI, without opening it: the one searched, and all stored."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from encoder.errors import InputError
from search.filters.milvus import among
from search.store.folder.store import remove_modalities
from search.store.folders import SPACES
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
        yield FolderRecord(target)
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


class DropsSpaces(Protocol):
    def drop(self, space: str) -> None:
        """Remove all that is stored in a space."""
        ...

    def empty(self, space: str, is_elsewhere: Callable[[str], bool]) -> int:
        """Remove the segments of modalities that are searched elsewhere; return how many."""
        ...


class _FolderSpaces:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def drop(self, space: str) -> None:
        shutil.rmtree(self._folder / SPACES / space, ignore_errors=True)

    def empty(self, space: str, is_elsewhere: Callable[[str], bool]) -> int:
        return remove_modalities(self._folder, space, is_elsewhere)


class _ServerSpaces:
    def __init__(self, link: MilvusLink, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    def drop(self, space: str) -> None:
        segments = collection_name(self._prefix, space, segments_collection(1).kind)
        drop_calibration(self._link, segments)
        for name in self._link.call("list_collections"):
            if name.startswith(f"{self._prefix}_{space}_"):
                self._link.call("drop_collection", name)

    def empty(self, space: str, is_elsewhere: Callable[[str], bool]) -> int:
        collection = collection_name(self._prefix, space, segments_collection(1).kind)
        self._link.call("load_collection", collection)
        partitions = self._link.call("list_partitions", collection)
        modalities = {partition.partition("_")[2] or partition for partition in partitions}
        theirs = among("modality", sorted(filter(is_elsewhere, modalities)))
        count = {"filter": theirs, "output_fields": ["count(*)"], **self._link.freshness()}
        (n_rows,) = self._link.call("query", collection, **count)
        if n_rows["count(*)"]:
            self._link.call("delete", collection, filter=theirs)
        return int(n_rows["count(*)"])


def drop_former(uri: str | None, prefix: str = "anymodal") -> str:
    """Drop the rows of former spaces and lanes; return what was dropped. This cannot be undone.

    Without a former space, those of a move that was not finished.
    """
    target = store_target(uri)
    with ExitStack() as stack:
        if isinstance(target, Path):
            record: FolderRecord | ServerRecord = FolderRecord(target)
            spaces: DropsSpaces = _FolderSpaces(target)
        else:
            link = MilvusLink(target, timeout_s=30.0, connect_timeout_s=10.0)
            stack.callback(link.close)
            record, spaces = ServerRecord(link, prefix), _ServerSpaces(link, prefix)
        current = record.read()
        filling = current.filling if current and current.former else ""
        others = sorted({*record.spaces()} - {*filling.split()} - current.spaces) if current else []
        if not current or not (others or current.former):
            raise InputError(
                "--drop-former", got="a store with one model", wanted="a store that was moved"
            )
        record.write(replace(current, former=None, filling=filling))
        for other in others:
            spaces.drop(other)
        emptied = []
        for space in sorted(current.spaces) if current.lanes else ():
            if n_rows := spaces.empty(space, _searched_elsewhere(current, space)):
                emptied.append(f"{n_rows} rows in {space}")
        return ", ".join([*others, *emptied])


def _searched_elsewhere(current: SearchedSpace, space: str) -> Callable[[str], bool]:
    """Whether a modality's segments in this space are not those that are searched."""

    def is_elsewhere(modality: str) -> bool:
        return current.lanes.get(modality, current.space) != space

    return is_elsewhere
