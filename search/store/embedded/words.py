"""The words of texts: an index of `search.lexical` in the folder, behind the tables or level.

It has read the texts up to a slot of their part, which is a fact of the tables. A process that
writes many texts, or looks for words, has it read the rest. To read some twice does no harm, so
that nobody has to write both at once.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock, Thread

from encoder.errors import AnymodalError
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.lexical import WordIndex
from search.lexical.index import Text
from search.store.embedded.rows import place_of
from search.store.embedded.tables import Tables, fact, set_fact

_META = "meta.json"
"""Tantivy's list of its files."""
AT_ONCE = 4096
"""Texts that are read while somebody waits."""


class KeptWords:
    """The index of words. Safe to use from threads and processes.

    Args:
        tables: of the texts.
        folder: where it lies; made again if it cannot be read.
        exclusively: a block in which nobody else writes.
        read_only: take it as it is.
    """

    def __init__(
        self,
        tables: Tables,
        folder: Path,
        exclusively: Callable[[], AbstractContextManager[object]],
        *,
        read_only: bool,
    ) -> None:
        self._tables = tables
        self._folder = folder
        self._exclusively = exclusively
        self._read_only = read_only
        self._index: WordIndex | None = None
        self._epoch = -1
        self._lock = Lock()
        self._thread: Thread | None = None

    def find(self, text: str, limit: int, asset_ids: Sequence[str] | None) -> dict[str, float]:
        """Keys of segments and their BM25, best first. Some may be gone."""
        index = self._index
        if index is None:
            return {}
        try:
            found = index.find(text, limit, asset_ids)
        except (OSError, ValueError) as error:
            self._forget()
            raise IndexNotReadyError(
                "The words of this store have to be read again, so that only meaning counted.",
                "Search again a little later.",
            ) from error
        return {one.segment_id: one.score for one in found}

    def refresh(self) -> None:
        """Have the next `find` know all texts.

        Raises:
            IndexNotReadyError: there are many new ones; they are being read now.
        """
        self._open()
        n_left = self.n_left()
        if n_left and not self._read_only:
            if n_left > AT_ONCE:
                self._read_in_background()
                raise IndexNotReadyError(
                    "The words of this store are still being read, so that only meaning counted.",
                    "Search again a little later.",
                )
            self.catch_up()
            self._open()

    def n_left(self) -> int:
        """How many texts and deletions have not been read."""
        with self._tables.reading() as db:
            return _n_left(db)

    def catch_up(self) -> None:
        """Read what is new, some at a time, so that others may write in between.

        What cannot be read any more is made again.
        """
        self._open()
        while True:
            with self._exclusively(), self._lock:
                with self._tables.reading() as db:
                    if not _n_left(db):
                        return
                self._read_some()

    def _read_some(self) -> None:
        with self._tables.reading() as db:
            part, n_slots, done = _place(db)
            gone = db.execute("SELECT seq, asset_id FROM unworded LIMIT ?", (AT_ONCE,)).fetchall()
            texts = db.execute(
                "SELECT key, asset_id, snippet, at FROM segment JOIN asset USING (no) "
                "WHERE at >= ? AND at < ? ORDER BY at LIMIT ?",
                (place_of(part, done), place_of(part, n_slots), AT_ONCE),
            ).fetchall()
        index = self._opened(is_new=not done)
        try:
            index.remove(asset_id for _, asset_id in gone)
            index.add(Text(key, asset_id, text) for key, asset_id, text, _ in texts)
            index.commit()
        except BaseException:
            self._index = None  # and its lock
            raise
        done = texts[-1][3] - place_of(part, 0) + 1 if len(texts) == AT_ONCE else n_slots
        with self._tables.writing() as db:
            if gone:
                db.execute("DELETE FROM unworded WHERE seq <= ?", (gone[-1][0],))
            set_fact(db, "words", [part, done])
            self._epoch = 1 + (fact(db, "words_epoch") or 0)
            set_fact(db, "words_epoch", self._epoch)

    def _opened(self, *, is_new: bool) -> WordIndex:
        if is_new:
            self._index = None
            shutil.rmtree(self._folder, ignore_errors=True)
            private_folder(self._folder)
            self._index = WordIndex(folder=self._folder, shared=True)
        self._index = self._index or self._kept()
        return self._index

    def _kept(self) -> WordIndex:
        """The index that is there; one without this file would be made again, empty."""
        if not (self._folder / _META).exists():
            raise FileNotFoundError(self._folder / _META)
        return WordIndex(folder=self._folder, shared=True)

    def _open(self) -> None:
        """Read the files that are there, if another process has changed them."""
        with self._lock, self._tables.reading() as db:
            epoch = fact(db, "words_epoch")
            if epoch is None or (self._index is not None and epoch == self._epoch):
                return
            try:
                if self._index is None:
                    self._index = self._kept()
                self._index.reload()
                self._epoch = epoch
            except (OSError, ValueError):
                self._index = None
        if self._index is None:
            self._forget()

    def _forget(self) -> None:
        """Begin again: the files are damaged."""
        if self._read_only:
            return
        with suppress(AnymodalError), self._exclusively(), self._lock:
            self._index = None
            with self._tables.writing() as db:
                db.execute("DELETE FROM fact WHERE name IN ('words', 'words_epoch')")

    def _read_in_background(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._try_to_catch_up, daemon=True)
                self._thread.start()

    def _try_to_catch_up(self) -> None:
        with suppress(StoreError, OSError):  # said by the search, which begins again
            self.catch_up()

    def close(self) -> None:
        """Release the files."""
        self._index = None


def _place(db: sqlite3.Connection) -> tuple[int, int, int]:
    """The part of texts, its slots, and how many of them have been read."""
    found = db.execute(
        "SELECT part, n_slots FROM part WHERE modality = ? AND number = 0", (TEXT,)
    ).fetchone()
    part, n_slots = found or (0, 0)
    known, done = fact(db, "words") or (part, 0)
    return part, n_slots, done if known == part else 0


def _n_left(db: sqlite3.Connection) -> int:
    _, n_slots, done = _place(db)
    (n_gone,) = db.execute("SELECT count(*) FROM unworded").fetchone()
    return int(n_slots - done + n_gone)
