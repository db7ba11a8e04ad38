"""The record of a folder, Milvus Lite: opened only when needed, since that reads all rows.

Its last write can be seen without opening it: Lite counts the writes of each collection in a file,
which lags behind those that only its log holds; a kill does not harm that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from search.errors import StoreError
from search.store.lite.in_process import opened_lite
from search.store.lite.shared import Served, check_served, is_shared
from search.store.milvus.store import MilvusStore
from search.store.schema import (
    ASSETS,
    collection_name,
    old_segments_collection,
    segments_collection,
)

_MANIFEST = "manifest.json"
_REMEDY = (
    "If its files are damaged, the index beside them still has all rows: save them by `anymodal "
    "store export FOLDER`, and `anymodal store import` them into a new store."
)


Mark: TypeAlias = tuple[int, int, int]
"""The last write of a collection that is in a file, the last of all, and the bytes of its log."""


class Record:
    """Opens the record once, and again after the server of a shared folder was restarted."""

    def __init__(
        self, folder: Path, prefix: str, fingerprint: str, opener: Callable[[], MilvusStore]
    ) -> None:
        self._folder = folder
        self._root = folder / "collections"
        self._opener = opener
        self._lock = Lock()
        self._store: MilvusStore | None = None
        self._server: Served | None = None
        """Through which it was opened, if the folder is shared."""
        self._left: list[MilvusStore] = []
        """Of servers that have ended; calls under way may still use them."""
        segments = segments_collection(1).kind
        self._names = [
            collection_name(prefix, fingerprint, collection)
            for collection in (segments, ASSETS.kind)
        ]
        self._old = collection_name(prefix, fingerprint, old_segments_collection(1).kind)

    @property
    def is_new(self) -> bool:
        """Whether it still has to be created."""
        return not all((self._root / name).is_dir() for name in self._names)

    @property
    def may_be_old(self) -> bool:
        """Whether it is of schema 6, or an upgrade of it was not completed."""
        return (self._root / self._old).is_dir()

    def flushed_writes(self) -> list[int]:
        """The number of the last write of each collection that Lite has flushed."""
        return [_last_write(self._root / name / _MANIFEST) for name in self._names]

    def marks(self) -> list[Mark]:
        """How far each collection is."""
        if any(map(self._log_bytes, self._names)) and not opened_lite(self._folder):
            self.store.flush()  # of another process
        marks = []
        for name, flushed in zip(self._names, self.flushed_writes(), strict=True):
            known = self._known_here(name)
            marks.append((flushed, flushed if known is None else known, self._log_bytes(name)))
        return marks

    def is_at(self, marks: Sequence[Mark]) -> bool:
        """Whether it has these writes and no others, in files or in logs."""
        for name, flushed, (of_files, of_all, n_log_bytes) in zip(
            self._names, self.flushed_writes(), marks, strict=False
        ):
            known, n_bytes = self._known_here(name), self._log_bytes(name)
            is_there = known == of_all
            if known is None:
                is_there = (flushed == of_files and n_bytes == n_log_bytes) or (
                    flushed == of_all and n_bytes in (0, n_log_bytes)
                )
            if not is_there:
                return False
        return True

    def _known_here(self, name: str) -> int | None:
        lite = opened_lite(self._folder)
        return lite.last_write(name) if lite else None

    def _log_bytes(self, name: str) -> int:
        n_bytes = 0
        for log in (self._root / name / "wal").glob("wal_*"):
            with suppress(FileNotFoundError):  # it was flushed
                n_bytes += log.stat().st_size
        return n_bytes

    @property
    def store(self) -> MilvusStore:
        """The store on the record; raises if the folder is shared and its server is away."""
        with self._lock:
            if self._store and self._server and check_served(self._folder) != self._server:
                self._left.append(self._store)
                self._store = None
            if self._store is None:
                self._store = self._opened()
                self._server = check_served(self._folder) if is_shared(self._folder) else None
            return self._store

    def _opened(self) -> MilvusStore:
        try:
            return self._opener()
        except StoreError as error:
            if error.remedy or error.retryable:
                raise
            raise StoreError(error.problem, _REMEDY) from error

    def close(self) -> None:
        """Leave the record; the next use opens it again."""
        with self._lock:
            for store in (*self._left, *([self._store] if self._store else [])):
                store.close()
            self._left, self._store = [], None


def _last_write(manifest: Path) -> int:
    try:
        return int(json.loads(manifest.read_text())["current_seq"])
    except (OSError, ValueError, KeyError):
        return 0  # it is not there before the first write
