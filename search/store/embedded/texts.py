"""Indexes of words in a folder: of texts, and of the names of assets.

Each is a `search.lexical.WordIndex`, up to date with the tables or behind them. The tables say what
it has not read: the words of texts are read up to a slot of their part, and assets are listed when
their commit row changes. Reading some of it twice does no harm, so the two need not be written
together. A process that writes many texts, or searches for words, reads the rest.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from mmap import PROT_READ, mmap
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.errors import AnymodalError
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.lexical import WordIndex
from search.lexical.index import FoundText, IndexedText
from search.lexical.names import text_of
from search.lexical.rarity import Frequencies
from search.store.embedded.tables import (
    LIST_ALL_NAMES,
    IndexTables,
    asset_of,
    fact,
    marks,
    place_of,
    set_fact,
)

_META = "meta.json"
"""Tantivy's list of its files."""
AT_ONCE = 4096
"""The most texts that are read while somebody waits."""


class Unread(NamedTuple):
    """What an index reads next."""

    texts: Sequence[IndexedText]
    """To index, each in place of the former one."""
    gone: Sequence[str]
    """Assets whose texts are all removed."""
    is_new: bool
    """Nothing was read before."""
    note: Callable[[sqlite3.Connection], None]
    """Writes to the tables that these were read."""


class KeptIndex:
    """An index kept in a folder, rebuilt if damaged. Safe to use from threads and processes.

    ``folder`` is that of all indexes; nobody else writes in a block of ``exclusively``.
    """

    def __init__(
        self,
        tables: IndexTables,
        folder: Path,
        exclusively: Callable[[], AbstractContextManager[object]],
        source: TextSource | NameSource,
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
        self._thread: Thread | None = None

    def find(
        self,
        text: str,
        limit: int,
        asset_ids: Sequence[str] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> list[FoundText] | None:
        """See `WordIndex.find`, as of the last `open`; None if the files have to be rebuilt."""
        index = self._index
        if index is None:
            return []
        try:
            return index.find(text, limit, asset_ids, wanted)
        except (OSError, ValueError):
            self._forget()
            return None

    def frequencies(self, wanted: Collection[str]) -> Frequencies:
        """See `WordIndex.frequencies`, as of the last `open`."""
        index = self._index
        return index.frequencies(wanted) if index else Frequencies()

    def refresh(self) -> None:
        """Make sure that the next `find` knows all texts, or raise IndexNotReadyError."""
        self.open()
        if n_left := self.n_left():
            if n_left > AT_ONCE:
                with self._lock:
                    if self._thread is None or not self._thread.is_alive():
                        self._thread = Thread(target=self._in_background, daemon=True)
                        self._thread.start()
                raise IndexNotReadyError(
                    "The words of this store are still being read, so only meaning counted.",
                    "Search again later.",
                )
            self.catch_up()
            self.open()

    def _in_background(self) -> None:
        with suppress(StoreError, OSError):  # reported by the next search, which tries again
            self.catch_up()

    def lacking(self, texts: Sequence[IndexedText]) -> list[IndexedText]:
        """Those of these texts that `find` does not know, or knows with other notes."""
        self.open()
        notes = self._index.notes([text.segment_id for text in texts]) if self._index else {}
        known = {segment_id: _sorted(note) for segment_id, note in notes.items()}
        return [text for text in texts if known.get(text.segment_id) != _sorted(text.note)]

    def n_left(self) -> int:
        """How much has not been read."""
        with self._tables.reading() as db:
            return self._source.n_left(db)

    def catch_up(self, is_unwanted: Callable[[], bool] = lambda: False) -> None:
        """Read what is new, some at a time, so that others may write in between.

        Before each time, ``is_unwanted`` is asked whether to leave the rest.
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
            self._index = self._in_folder()
        self._index = self._index or self._kept()
        return self._index

    def _kept(self) -> WordIndex:
        """The existing index; without this file, an empty one would be created."""
        if not (self._folder / _META).exists():
            raise FileNotFoundError(self._folder / _META)
        return self._in_folder()

    def _in_folder(self) -> WordIndex:
        return WordIndex(folder=self._folder, shared=True, has_numbers=self._source.has_numbers)

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
        """Read each file once in this process; ValueError if one was changed.

        One that is missing may have been merged with others.
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


def _sorted(note: bytes) -> list[list[bytes]]:
    """A note, whatever the order of its words, which differs between processes."""
    return [sorted(line.split()) for line in note.split(b"\n")]


def _sum_of(path: Path) -> int:
    """Mapped, as in `codes.is_sealed`."""
    if not path.stat().st_size:
        return 0
    with path.open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as content:
        return zlib.crc32(content)


class TextSource:
    """What the index of words is built from."""

    name = "words"
    """Of its folder, and in facts."""
    has_numbers = True
    """Filters look at the numbers of assets."""

    def n_left(self, db: sqlite3.Connection) -> int:
        """How much has not been read."""
        _, n_slots, done = _place(db)
        (n_gone,) = db.execute("SELECT count(*) FROM unworded").fetchone()
        return int(n_slots - done + n_gone)

    def unread(self, db: sqlite3.Connection, limit: int) -> Unread:
        """The next part: deletions first, and texts only once none is left.

        A deletion read after a text would also remove what was stored again since.
        """
        part_no, n_slots, done = _place(db)
        removals = "SELECT seq, asset_id FROM unworded ORDER BY seq LIMIT ?"
        gone = db.execute(removals, (limit,)).fetchall() if done else []
        room = limit - len(gone)
        texts = db.execute(
            "SELECT key, asset_id, snippet, no, at FROM segment JOIN asset USING (no) "
            "WHERE at >= ? AND at < ? ORDER BY at LIMIT ?",
            (place_of(part_no, done), place_of(part_no, n_slots), room),
        ).fetchall()
        end = n_slots
        if len(texts) == room:
            end = texts[-1][4] - place_of(part_no, 0) + 1 if texts else done

        def note(db: sqlite3.Connection) -> None:
            if not done:  # nothing was indexed
                db.execute("DELETE FROM unworded")
            elif gone:
                db.execute("DELETE FROM unworded WHERE seq <= ?", (gone[-1][0],))
            set_fact(db, self.name, [part_no, end])

        new_texts = [
            IndexedText(key, asset_id, text, asset_no=no) for key, asset_id, text, no, _ in texts
        ]
        return Unread(new_texts, [asset_id for _, asset_id in gone], not done, note)

    def again(self, db: sqlite3.Connection) -> None:
        """Mark all of it as not read."""
        db.execute("DELETE FROM fact WHERE name = ?", (self.name,))


def _place(db: sqlite3.Connection) -> tuple[int, int, int]:
    """The part of texts, its slots, and how many of them have been read."""
    text_part = db.execute(
        "SELECT part, n_slots FROM part WHERE modality = ? AND number = 0", (TEXT,)
    ).fetchone()
    part_no, n_slots = text_part or (0, 0)
    read_part, done = fact(db, "words") or (part_no, 0)
    return part_no, n_slots, done if read_part == part_no else 0


class NameSource:
    """The same for the index of names."""

    name = "names"
    has_numbers = False

    def n_left(self, db: sqlite3.Connection) -> int:
        (n,) = db.execute("SELECT count(*) FROM unnamed").fetchone()
        return int(n)

    def unread(self, db: sqlite3.Connection, limit: int) -> Unread:
        """The oldest changes; an asset whose file is gone has no names, nor has a deleted one."""
        sql = "SELECT seq, asset_id FROM unnamed ORDER BY seq LIMIT ?"
        listed = db.execute(sql, (limit,)).fetchall()
        ids = list({asset_id for _, asset_id in listed})
        asset_rows = db.execute(
            f"SELECT asset_id, row FROM asset WHERE row IS NOT NULL AND asset_id IN ({marks(ids)})",
            ids,
        ).fetchall()
        texts = {asset_id: IndexedText(asset_id, "", "") for asset_id in ids}
        rows = [asset_of(asset_id, row) for asset_id, row in asset_rows]
        texts |= {row.asset_id: text_of(row) for row in rows if not row.is_gone}

        def note(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM unnamed WHERE seq <= ?", (listed[-1][0],))

        return Unread(list(texts.values()), [], fact(db, "names_epoch") is None, note)

    def again(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM unnamed")
        db.execute(LIST_ALL_NAMES)
