"""The store at a URI by its own record: opened without a model, and what it no longer searches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from encoder.errors import InputError
from search.errors import StoreMissingError
from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.milvus.link import MilvusLink
from search.store.milvus.lite import is_file
from search.store.milvus.notes import ServerRecord
from search.store.open import StoreOptions, open_lanes, store_name, store_target
from search.store.space_record import FolderRecord, NoRecord, SpaceRecord, lanes_of

_PATIENCE_S = 2.0
"""For the first answer of a server, until a command says that there is none."""


@contextmanager
def space_record(uri: str | None, prefix: str = "anymodal") -> Iterator[SpaceRecord]:
    """The record of the store that `search.store.open.open_lanes` opens by this URI."""
    target = None if uri == "memory:" else store_target(uri)
    if target is None:
        yield NoRecord()
    elif isinstance(target, Path):
        yield FolderRecord(target)
    else:
        link = MilvusLink(target, timeout_s=30.0, connect_timeout_s=_PATIENCE_S)
        try:
            yield ServerRecord(link, prefix)
        finally:
            link.close()


def open_recorded(uri: str | None, **options: Unpack[StoreOptions]) -> VectorStore:
    """Open a store for what its record says is searched, without any model.

    Raises:
        StoreMissingError: there is none.
        StoreError: as `open_lanes`.
    """
    target = str(store_target(uri))
    if is_file(target) and not Path(target).exists():  # Milvus Lite would make it
        raise StoreMissingError.at(store_name(uri))
    with space_record(uri, options.get("prefix", "anymodal")) as record:
        current = record.read()
    if current is None:
        raise StoreMissingError.at(store_name(uri))
    options["create"] = False
    return open_lanes(uri, lanes_of(current), **options)


def drop_former(uri: str | None, prefix: str = "anymodal") -> dict[str, int]:
    """Drop the lanes that are not searched, except those that a move is filling.

    Without a former model, those of a move that was not finished. This cannot be undone.

    Returns:
        How many rows were dropped, by space.
    """
    with closing(open_recorded(uri, prefix=prefix)) as store, space_record(uri, prefix) as record:
        current, dropped = record.read(), Counter[str]()
        assert current is not None
        assert isinstance(store, Checkable)
        filling = current.filling if current.former else ""
        other_spaces = [
            (space, modality)
            for space, modality in sorted(store.stored_lanes())
            if not (store.lanes.has(space, modality) or space in filling.split())
        ]
        if not (other_spaces or current.former):
            raise InputError(
                "--drop-former", got="a store with one model", wanted="a store that was moved"
            )
        record.write(replace(current, former=None, filling=filling))
        for space, modality in other_spaces:
            dropped[space] += store.drop(space, modality)
        return dropped
