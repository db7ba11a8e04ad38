"""The files of an index that were built together; a rebuilt index has others, in another folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import NamedTuple

from encoder.system.private import private_folder
from search.store.embedded.reading import IndexReading
from search.store.embedded.record import Mark
from search.store.embedded.tables import DamagedError, IndexTables, fact
from search.store.embedded.texts import KeptIndex, NameSource, TextSource
from search.store.embedded.views import Views

TABLES = "tables.db"
MARKS = "record"
"""The fact that says where the record was when the index was last level with it."""
_VECTORS = "vectors"


class Generation:
    """The files, open. Safe to use from threads; who still uses former ones may go on.

    Raises `DamagedError` if they cannot be opened. ``exclusively`` is a block in which nobody else
    writes.
    """

    def __init__(
        self,
        folder: Path,
        embed_dim: int,
        store_name: str,
        exclusively: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.name = folder.name
        self._vectors = folder / _VECTORS
        self.tables = IndexTables(folder / TABLES, store_name=store_name)
        self.views = Views(self._vectors, embed_dim)
        self.words = KeptIndex(self.tables, folder, exclusively, TextSource())
        self.names = KeptIndex(self.tables, folder, exclusively, NameSource())
        self.reading = IndexReading(self.tables, self.views, self.words, embed_dim)

    @staticmethod
    def make(folder: Path, store_name: str) -> None:
        private_folder(folder / _VECTORS)
        IndexTables.made(folder / TABLES, store_name).close()

    def check(self, embed_dim: int) -> None:
        """Raise `DamagedError` unless the files are complete, and of this dimension."""
        with self.tables.reading() as db:
            if fact(db, "embed_dim") != embed_dim:  # written last
                raise DamagedError
            for part_no, n_slots in db.execute("SELECT part, n_slots FROM part"):
                self.views.files(part_no).check(n_slots)

    def complete_codes(self) -> None:
        """Make the codes of new complete chunks, so that no search waits for them."""
        with self.tables.reading() as db:
            for view in self.views.current(db).parts.values():
                view.files.complete(view.n_slots)

    def sweep(self) -> None:
        """Remove the files of parts that were given up."""
        with self.tables.reading() as db:
            part_nos = {str(part_no) for (part_no,) in db.execute("SELECT part FROM part")}
        for path in self._vectors.iterdir():
            if path.name.partition(".")[0] not in part_nos:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        for opened in (self.names, self.words, self.views, self.tables):
            opened.close()


def marks_in(db: sqlite3.Connection) -> list[Mark]:
    """The fact `MARKS`; earlier versions noted one number, of what they had always flushed."""
    return [
        (mark, mark, 0) if isinstance(mark, int) else (mark[0], mark[1], mark[2])
        for mark in fact(db, MARKS) or ()
    ]


class KnownRows(NamedTuple):
    """What tables say of the record: rows by modality, ``assets``; and its last writes then."""

    sizes: dict[str, int]
    mark: list[int]


def known_of(tables: Path) -> KnownRows:
    """See `KnownRows`; nothing is known if the tables are unreadable."""
    sizes, mark = dict[str, int](), list[int]()
    try:
        with closing(sqlite3.connect(f"{tables.as_uri()}?mode=rw", uri=True)) as db:
            sizes.update(db.execute("SELECT modality, n_live FROM part WHERE number = 0"))
            counted = "SELECT count(*) FROM asset WHERE row NOT NULL"
            (sizes["assets"],) = db.execute(counted).fetchone()
            mark = [last for _, last, _ in marks_in(db)]
    except (sqlite3.Error, ValueError):
        return KnownRows({}, [])
    return KnownRows(sizes, mark)
