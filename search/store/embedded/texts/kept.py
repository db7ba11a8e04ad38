"""An index of `search.lexical` in the folder, up to date with the tables or behind them.

The tables say what it has not read. Reading some of it twice does no harm, so the two need not be
written together.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

from encoder.errors import AnymodalError
from encoder.system.private import private_folder
from search.lexical import WordIndex
from search.lexical.index import FoundText, Text
from search.store.embedded.tables import Tables, fact, set_fact

_META = "meta.json"
"""Tantivy's list of its files."""
AT_ONCE = 4096
"""The most texts that are read while somebody waits."""


class Unread(NamedTuple):
    """What an index reads next.

    Args:
        texts: to index, each in place of the former one.
        gone: assets whose texts are all removed.
        is_new: nothing was read before.
        note: writes to the tables that these were read.
    """

    texts: Sequence[Text]
    gone: Sequence[str]
    is_new: bool
    note: Callable[[sqlite3.Connection], None]


class Source(Protocol):
    """What an index is built from."""

    name: str
    """The name of its folder, and in facts."""

    def n_left(self, db: sqlite3.Connection) -> int:
        """How much has not been read."""
        ...

    def unread(self, db: sqlite3.Connection, limit: int) -> Unread:
        """The next part of it."""
        ...

    def again(self, db: sqlite3.Connection) -> None:
        """Mark all of it as not read."""
        ...


class KeptIndex:
    """An index kept in a folder. Safe to use from threads and processes.

    Args:
        tables: the source's.
        folder: the folder of all indexes; a damaged index is rebuilt.
        exclusively: a block in which nobody else writes.
        source: what is read.
    """

    def __init__(
        self,
        tables: Tables,
        folder: Path,
        exclusively: Callable[[], AbstractContextManager[object]],
        source: Source,
    ) -> None:
        self._tables = tables
        self._folder = folder / source.name
        self._exclusively = exclusively
        self._source = source
        self._epoch_fact = f"{source.name}_epoch"
        self._sums_fact = f"{source.name}_sums"
        self._verified: dict[str, int] = {}
        self._index: WordIndex | None = None
        self._epoch = -1
        self._lock = Lock()

    def find(
        self, text: str, limit: int, asset_ids: Sequence[str] | None = None
    ) -> list[FoundText] | None:
        """The best, as of the last `open`; None if the files have to be rebuilt."""
        index = self._index
        if index is None:
            return []
        try:
            return index.find(text, limit, asset_ids)
        except (OSError, ValueError):
            self._forget()
            return None

    def lacking(self, texts: Sequence[Text]) -> list[Text]:
        """Those of these texts that `find` does not know, or knows with other notes."""
        self.open()
        notes = self._index.notes([text.segment_id for text in texts]) if self._index else {}
        return [text for text in texts if notes.get(text.segment_id) != text.note]

    def n_left(self) -> int:
        """How much has not been read."""
        with self._tables.reading() as db:
            return self._source.n_left(db)

    def catch_up(self, is_unwanted: Callable[[], bool] = lambda: False) -> None:
        """Read what is new, some at a time, so that others may write in between.

        Files that can no longer be read are rebuilt.

        Args:
            is_unwanted: called before each time; if true, the rest is left.
        """
        self.open()
        while not is_unwanted():
            with self._exclusively(), self._lock:
                with self._tables.reading() as db:
                    if not self._source.n_left(db):
                        return
                    unread = self._source.unread(db, AT_ONCE)
                self._read(unread)

    def _read(self, unread: Unread) -> None:
        index = self._opened(is_new=unread.is_new)
        try:
            index.remove(unread.gone)
            index.add(unread.texts)
            index.commit()
        except BaseException:
            self._index = None  # releases its lock too
            raise
        self._verified = {
            name: self._verified.get(name) or _sum_of(path) for name, path in self._files()
        }
        with self._tables.writing() as db:
            unread.note(db)
            self._epoch = time.time_ns()  # differs from that of any index before
            set_fact(db, self._epoch_fact, self._epoch)
            set_fact(db, self._sums_fact, self._verified)

    def _opened(self, *, is_new: bool) -> WordIndex:
        if is_new:
            self._index = None
            shutil.rmtree(self._folder, ignore_errors=True)
            private_folder(self._folder)
            self._index = WordIndex(folder=self._folder, shared=True)
        self._index = self._index or self._kept()
        return self._index

    def _kept(self) -> WordIndex:
        """The existing index; without this file, an empty one would be created."""
        if not (self._folder / _META).exists():
            raise FileNotFoundError(self._folder / _META)
        return WordIndex(folder=self._folder, shared=True)

    def open(self) -> None:
        """Read the files that are there, if another process has changed them."""
        with self._lock, self._tables.reading() as db:
            epoch = fact(db, self._epoch_fact)
            if epoch is None or (self._index is not None and epoch == self._epoch):
                return
            try:
                self._verify(fact(db, self._sums_fact) or {})
                if self._index is None:
                    self._index = self._kept()
                self._index.reload()
                self._epoch = epoch
            except (OSError, ValueError):
                self._index = None
        if self._index is None:
            self._forget()

    def _files(self) -> Iterator[tuple[str, Path]]:
        """Tantivy's files that are never changed."""
        for path in self._folder.iterdir():
            if path.suffix not in (".json", ".lock"):
                yield path.name, path

    def _verify(self, sums: Mapping[str, int]) -> None:
        """Read each file once in this process.

        Raises:
            ValueError: one was changed. One that is missing may have been merged with others.
        """
        for name, path in self._files():
            if name in sums and self._verified.get(name) != sums[name]:
                with suppress(FileNotFoundError):
                    if _sum_of(path) != sums[name]:
                        raise ValueError(name)
                self._verified[name] = sums[name]

    def _forget(self) -> None:
        """Start over: the files are damaged."""
        with suppress(AnymodalError), self._exclusively(), self._lock:
            self._index = None
            with self._tables.writing() as db:
                self._source.again(db)
                db.execute("DELETE FROM fact WHERE name = ?", (self._epoch_fact,))

    def close(self) -> None:
        """Release the files."""
        self._index = None


def _sum_of(path: Path) -> int:
    return zlib.crc32(path.read_bytes())
