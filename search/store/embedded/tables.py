"""The tables of the index next to the record, in SQLite: connections to them, and their rows.

- ``asset``: numbers of assets, and their commit rows: as JSON, and a column for each field that
  filters compare. One without a row has segments, but is not committed yet.
- ``location``, ``label``: URIs, tags and places, by which assets are found.
- ``part``: one for each modality and number of row, as the record has partitions; its slots, how
  many count, and the checksum of what lies beside their vectors.
- ``segment``: the facts of a hit, by its part and its slot in the files of vectors.
- ``dead``: slots whose segment was deleted or replaced.
- ``intent``: assets that somebody began to write. Those left over were cut off.
- ``unworded``: assets whose texts the index of words still has to remove.
- ``unnamed``: assets whose commit row has changed since the index of names read it.
- ``fact``: single values, as JSON.

Readers see the last commit, whichever process made it, and never wait for a writer (SQLite's WAL).
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Semaphore, local
from typing import Any

from encoder.system.disk import disk_error_in
from encoder.types import Embeddings, Modality
from search.errors import StoreError, StoreUnavailableError
from search.filters.columns import column_of
from search.filters.sqlite import VALUED, values_of
from search.store.schema import NUMBERS, TEXTS
from search.store.several import packed, unpacked
from search.types import AssetRow, ScoredSegment, SegmentRow

FORMAT = 2
"""The format of all files next to the record; files of a different one are rebuilt."""
SLOT_BITS = 40
_WAIT_S = 30.0
_CACHE_KB = 2_000
_MAP_BYTES = 2**26
_MOST = 4
"""Connections that are used at once; each maps 64 MB of the file, and keeps 2 MB besides."""
_LONG_S = 5.0
SEGMENT_COLUMNS = ", ".join(("key", "no", "idx", *NUMBERS, *TEXTS))
_COLUMNS = [column_of(field) for field in VALUED]
_TABLES = f"""
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE asset (
  no INTEGER PRIMARY KEY, asset_id TEXT NOT NULL UNIQUE, row TEXT, {", ".join(_COLUMNS)});
CREATE TABLE location (uri TEXT, no INTEGER, PRIMARY KEY (uri, no)) WITHOUT ROWID;
CREATE TABLE label (field TEXT, value TEXT, no INTEGER, PRIMARY KEY (field, value, no))
  WITHOUT ROWID;
CREATE TABLE part (
  part INTEGER PRIMARY KEY, modality TEXT, number INTEGER, n_slots INTEGER, n_live INTEGER,
  sum INTEGER, UNIQUE (modality, number));
CREATE TABLE segment (at INTEGER PRIMARY KEY, {SEGMENT_COLUMNS});
CREATE TABLE dead (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER);
CREATE TABLE intent (asset_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unworded (seq INTEGER PRIMARY KEY AUTOINCREMENT, asset_id TEXT);
CREATE TABLE unnamed (seq INTEGER PRIMARY KEY, asset_id TEXT);
CREATE TRIGGER named AFTER INSERT ON asset WHEN new.row IS NOT NULL
  BEGIN INSERT INTO unnamed (asset_id) VALUES (new.asset_id); END;
CREATE TRIGGER renamed AFTER UPDATE OF row ON asset WHEN new.row IS NOT old.row
  BEGIN INSERT INTO unnamed (asset_id) VALUES (new.asset_id); END;
CREATE TRIGGER unnamed AFTER DELETE ON asset WHEN old.row IS NOT NULL
  BEGIN INSERT INTO unnamed (asset_id) VALUES (old.asset_id); END;
CREATE UNIQUE INDEX segment_key ON segment (key);
CREATE INDEX segment_no ON segment (no);
CREATE INDEX location_no ON location (no);
CREATE INDEX label_no ON label (no);
{"".join(f"CREATE INDEX of_{c} ON asset ({c}) WHERE {c} IS NOT NULL;" for c in _COLUMNS)}
"""


LIST_ALL_NAMES = "INSERT INTO unnamed (asset_id) SELECT asset_id FROM asset WHERE row IS NOT NULL"


class DamagedError(StoreError):
    """A file of the index next to the record cannot be used; the index has to be rebuilt."""

    def __init__(self, where: object = "") -> None:
        super().__init__(
            f"The index beside the record is damaged: {where or 'files are missing or cut off'}.",
            remedy="Open the store again, which rebuilds the index from its rows; "
            "`anymodal store check` says whether anything is lost.",
        )


class IndexTables:
    """Connections to one file of SQLite. Safe to use from threads; not usable after a fork.

    Raises:
        DamagedError: it is missing, cut off or of a different format.
        StoreUnavailableError: others write for too long.
    """

    def __init__(self, path: Path, *, store_name: str = "") -> None:
        self.shown = store_name or str(path)
        self._path = path
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        self._free = Semaphore(_MOST)
        self._here = local()
        self._pid = os.getpid()
        self._is_closed = False
        weakref.finalize(self, _close_all, self._idle)
        # SQLite alone may open the file: closing it elsewhere in this process would end all of the
        # process's POSIX locks on it, and others would remove the log that is still being written.
        try:
            with self.reading() as db:
                if fact(db, "format") != FORMAT:
                    raise DamagedError
        except StoreUnavailableError:
            self.close()
            raise
        except (sqlite3.Error, StoreError) as error:
            self.close()
            raise DamagedError from error

    @classmethod
    def made(cls, path: Path, store_name: str) -> IndexTables:
        """Create new, empty tables."""
        db = sqlite3.connect(path)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(_TABLES)
            set_fact(db, "format", FORMAT)
            set_fact(db, "version", 0)
            db.commit()
        finally:
            db.close()
        return cls(path, store_name=store_name)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the same state until the end of the block."""
        with self._connection("BEGIN") as db:
            yield db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed together, or not at all."""
        with self._connection("BEGIN IMMEDIATE") as db:
            yield db
            version: int = fact(db, "version")
            set_fact(db, "version", version + 1)

    @contextmanager
    def _connection(self, begin: str) -> Iterator[sqlite3.Connection]:
        self._check_usable()
        with translated(self.shown), self._turn():
            db = self._borrowed()
            try:
                db.execute(begin)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            finally:
                if self._is_closed or self._idle.qsize() >= _MOST:
                    db.close()
                else:
                    self._idle.put(db)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for a free connection, but not for long: who has one may wait for this thread."""
        is_counted = not getattr(self._here, "has_one", False) and self._free.acquire(
            timeout=_LONG_S
        )
        if not is_counted:
            yield
            return
        self._here.has_one = True
        try:
            yield
        finally:
            self._here.has_one = False
            self._free.release()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreError(f"The store {self.shown} is closed.", remedy="Open it again.")
        if self._pid != os.getpid():
            raise StoreError(
                f"The store {self.shown} was opened before this process was forked.",
                remedy="Open it in the process that uses it.",
            )

    def _borrowed(self) -> sqlite3.Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            db = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw",
                uri=True,
                timeout=_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            db.execute(f"PRAGMA mmap_size = {_MAP_BYTES}")
            return db

    def close(self) -> None:
        """Close all connections; may be called twice."""
        self._is_closed = True
        if self._pid == os.getpid():
            _close_all(self._idle)


def _close_all(idle: LifoQueue[sqlite3.Connection]) -> None:
    with suppress(Empty):
        while True:
            idle.get_nowait().close()


_NO_ROOM = {f"SQLITE_IOERR_{what}" for what in ("WRITE", "FSYNC", "TRUNCATE", "SHMSIZE")}


@contextmanager
def translated(store_name: str) -> Iterator[None]:
    """Raise SQLite's errors as our own."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise StoreUnavailableError(
                f"The store {store_name} is being written: {text}."
            ) from error
        # A file that another process removes while it is opened is a failed read, and no full disk.
        has_no_room = "full" in text or error.sqlite_errorname in _NO_ROOM
        if full := disk_error_in("no space left on device" if has_no_room else text, store_name):
            raise full from error
        raise StoreError(
            f"The index of the store {store_name} cannot be read: {error}.",
            remedy="Open the store again, which rebuilds the index if it is damaged.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{store_name}: {error}") from error


def fact(db: sqlite3.Connection, name: str) -> Any:
    """A single value; None if it is not known."""
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return json.loads(row[0]) if row else None


def set_fact(db: sqlite3.Connection, name: str, value: Any) -> None:
    """Keep a single value."""
    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))


def marks(values: object) -> str:
    """A parameter for each value.

    >>> marks("abc")
    '?, ?, ?'
    """
    return ", ".join("?" * len(values))  # type: ignore[arg-type]


modality_of = lru_cache(64)(Modality)
"""Cached: each modality is checked once."""


def place_of(part_no: int, slot: int) -> int:
    """The place of a segment's row.

    >>> slot_of(place_of(3, 7))
    7
    """
    return (part_no << SLOT_BITS) + slot


def slot_of(at: int) -> int:
    """The slot of a place, in the files of its part."""
    return at & ((1 << SLOT_BITS) - 1)


def part_of(at: int) -> int:
    """The part of a place."""
    return at >> SLOT_BITS


def asset_values(row: AssetRow) -> list[Any]:
    """The commit row as JSON, and what filters compare."""
    fields = [
        row.modality, row.media_type, row.size_bytes, row.n_segments, list(row.locations),
        row.metadata,
    ]  # fmt: skip
    return [json.dumps(fields), *values_of(row)]


def asset_of(asset_id: str, fields: str) -> AssetRow:
    """The commit row from its JSON."""
    modality, *values = json.loads(fields)
    return AssetRow(asset_id, modality_of(modality), *values)


def segment_values(row: SegmentRow, no: int) -> tuple[Any, ...]:
    """The columns of a segment."""
    return row.key, no, packed(row.index, row.row), *_said(row)


_said = attrgetter(*NUMBERS, *TEXTS)


def scored(columns: Sequence[Any], modality: Modality, cosine: float) -> ScoredSegment:
    """A segment that a search found, from its key, its asset, what it says and its row."""
    key, asset_id, *said = columns
    return ScoredSegment(key.partition("#")[0], asset_id, modality, cosine, *said)


def segment_of(
    columns: Sequence[Any], asset_id: str, modality: Modality, embedding: Embeddings
) -> SegmentRow:
    """A segment as it was written, from its columns and its vector."""
    key, _no, packed_index, *said = columns
    index, number = unpacked(packed_index)
    said.append(number)
    return SegmentRow(key.partition("#")[0], asset_id, modality, index, embedding, *said)
