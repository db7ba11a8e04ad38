"""The words of texts: read up to a slot of their part, which is a fact in the tables.

A process that writes many texts, or searches for words, reads the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Lock, Thread

from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.lexical.index import Text
from search.store.embedded.rows import place_of
from search.store.embedded.tables import Tables, fact, set_fact
from search.store.embedded.texts.kept import AT_ONCE, KeptIndex, Unread


class KeptWords:
    """The index of words. Safe to use from threads and processes.

    Args:
        tables: those of the texts.
        folder: see `KeptIndex`.
        exclusively: likewise.
    """

    def __init__(
        self,
        tables: Tables,
        folder: Path,
        exclusively: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._kept = KeptIndex(tables, folder, exclusively, _Texts())
        self._lock = Lock()
        self._thread: Thread | None = None

    def find(self, text: str, limit: int, asset_ids: Sequence[str] | None) -> dict[str, float]:
        """Keys of segments and their BM25, best first. Some may be gone.

        Raises:
            IndexNotReadyError: the files were damaged.
        """
        found = self._kept.find(text, limit, asset_ids)
        if found is None:
            raise IndexNotReadyError(
                "The words of this store must be read again, so only meaning counted.",
                "Search again later.",
            )
        return {one.segment_id: one.score for one in found}

    def refresh(self) -> None:
        """Make sure that the next `find` knows all texts.

        Raises:
            IndexNotReadyError: there are many new ones; they are being read now.
        """
        self._kept.open()
        if n_left := self.n_left():
            if n_left > AT_ONCE:
                self._read_in_background()
                raise IndexNotReadyError(
                    "The words of this store are still being read, so only meaning counted.",
                    "Search again later.",
                )
            self.catch_up()
            self._kept.open()

    def n_left(self) -> int:
        """How many texts and deletions have not been read."""
        return self._kept.n_left()

    def catch_up(self) -> None:
        """See `KeptIndex.catch_up`."""
        self._kept.catch_up()

    def lacking(self, texts: Sequence[Text]) -> list[Text]:
        """See `KeptIndex.lacking`."""
        return self._kept.lacking(texts)

    def _read_in_background(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._try_to_catch_up, daemon=True)
                self._thread.start()

    def _try_to_catch_up(self) -> None:
        with suppress(StoreError, OSError):  # reported by the next search, which tries again
            self.catch_up()

    def close(self) -> None:
        """Release the files."""
        self._kept.close()


class _Texts:
    """See `search.store.embedded.texts.kept.Source`."""

    name = "words"

    def n_left(self, db: sqlite3.Connection) -> int:
        _, n_slots, done = _place(db)
        (n_gone,) = db.execute("SELECT count(*) FROM unworded").fetchone()
        return int(n_slots - done + n_gone)

    def unread(self, db: sqlite3.Connection, limit: int) -> Unread:
        """Deletions first, and texts only once none is left.

        A deletion read after a text would also remove what was stored again since.
        """
        part, n_slots, done = _place(db)
        removals = "SELECT seq, asset_id FROM unworded ORDER BY seq LIMIT ?"
        gone = db.execute(removals, (limit,)).fetchall() if done else []
        room = limit - len(gone)
        texts = db.execute(
            "SELECT key, asset_id, snippet, at FROM segment JOIN asset USING (no) "
            "WHERE at >= ? AND at < ? ORDER BY at LIMIT ?",
            (place_of(part, done), place_of(part, n_slots), room),
        ).fetchall()
        end = n_slots
        if len(texts) == room:
            end = texts[-1][3] - place_of(part, 0) + 1 if texts else done

        def note(db: sqlite3.Connection) -> None:
            if not done:  # nothing was indexed
                db.execute("DELETE FROM unworded")
            elif gone:
                db.execute("DELETE FROM unworded WHERE seq <= ?", (gone[-1][0],))
            set_fact(db, self.name, [part, end])

        found = [Text(key, asset_id, text) for key, asset_id, text, _ in texts]
        return Unread(found, [asset_id for _, asset_id in gone], not done, note)

    def again(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM fact WHERE name = ?", (self.name,))


def _place(db: sqlite3.Connection) -> tuple[int, int, int]:
    """The part of texts, its slots, and how many of them have been read."""
    found = db.execute(
        "SELECT part, n_slots FROM part WHERE modality = ? AND number = 0", (TEXT,)
    ).fetchone()
    part, n_slots = found or (0, 0)
    known, done = fact(db, "words") or (part, 0)
    return part, n_slots, done if known == part else 0
