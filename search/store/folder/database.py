"""The database of a folder, in SQLite with a checksum on each page: connections, and their rows.

- ``space``: the spaces of all lanes, with what is known of each; see `search.store.lanes`.
- ``lane``: numbers of pairs of a space and a modality; those of what was dropped never return.
- ``asset``: numbers of assets, and their commit rows: as JSON, and a column for each field that
  filters compare. One without a row has segments, but is not committed yet.
- ``location``, ``label``: URIs, tags and places, by which assets are found.
- ``part``: files of vectors, of one lane and number of row each: their slots, how many count,
  and the checksum of what lies beside the vectors. Rows are added to the last one of their kind.
- ``segment``: the facts of a hit, by its part and its slot in the files of vectors; keys are those
  of `search.store.several.stored_key`.
- ``dead``: slots whose segment was deleted or replaced.
- ``unread``: texts and names that the indexes of words have not read since they changed.
- ``changed``: assets by the version that changed them, for those who keep what a filter finds.
- ``fact``: single values, as JSON.

A commit is on the disk when it returns, and is the store's. Readers see the last one, whichever
process made it, and never wait for a writer (SQLite's WAL). SQLite itself answers wrongly where a
bit of its file is flipped; apsw brings the VFS that checks each page.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Collection as Ids
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Semaphore, local
from typing import Any, Protocol, cast

import apsw
import apsw.sqlite_extra

from encoder.system.batched import in_batches
from encoder.system.disk import disk_error_in
from encoder.types import Embeddings, Modality
from search.errors import StoreError, StoreUnavailableError
from search.filters.columns import column_of
from search.filters.sqlite import VALUED, values_of
from search.store.folder.counter import read_counter, write_counter
from search.store.folders import opened
from search.store.lanes import Counts, StoreLanes
from search.store.several import key_of, unpacked
from search.types import SAID, AssetRow, ScoredSegment, SegmentRow, modality_named

FORMAT = 3
"""The format of a folder's files; another one is refused."""
SLOT_BITS = 40
_WAIT_MS = 30_000
_CACHE_KB = 4_000
_LONG_LOG_PAGES = 1000
_MOST = 4
"""Connections that are used at once."""
_LONG_S = 5.0
_VALUES_PER_QUERY = 1000
_CHECKED_VFS = "cksmvfs"
_CHECKSUM_BYTES = 8
SEGMENT_COLUMNS = ", ".join(("key", "no", "idx", *SAID[:-1]))
_REAL = {"start_s", "end_s", "confidence"}
"""Whole numbers take less room in columns of this type."""
_FACTS = ", ".join(
    f"{name} REAL" if name in _REAL else name for name in SEGMENT_COLUMNS.split(", ")
)
_COLUMNS = [column_of(field) for field in VALUED]
_TABLES = f"""
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE space (
  space TEXT PRIMARY KEY, embed_dim INTEGER, calibration TEXT, probes TEXT) WITHOUT ROWID;
CREATE TABLE lane (
  lane INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT, modality TEXT, UNIQUE (space, modality));
CREATE TABLE asset (
  no INTEGER PRIMARY KEY, asset_id TEXT NOT NULL UNIQUE, row TEXT, {", ".join(_COLUMNS)});
CREATE TABLE location (uri TEXT, no INTEGER, PRIMARY KEY (uri, no)) WITHOUT ROWID;
CREATE TABLE label (field TEXT, value TEXT, no INTEGER, PRIMARY KEY (field, value, no))
  WITHOUT ROWID;
CREATE TABLE part (
  part INTEGER PRIMARY KEY, lane INTEGER, number INTEGER, n_slots INTEGER, n_live INTEGER,
  sum INTEGER);
CREATE TABLE segment (at INTEGER PRIMARY KEY, {_FACTS});
CREATE TABLE dead (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER);
CREATE TABLE unread (seq INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT, id TEXT);
CREATE TABLE changed (seq INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER, no INTEGER);
CREATE UNIQUE INDEX segment_key ON segment (key);
CREATE INDEX unread_source ON unread (source);
CREATE INDEX part_kind ON part (lane, number);
CREATE INDEX segment_no ON segment (no);
CREATE INDEX location_no ON location (no);
CREATE INDEX label_no ON label (no);
{"".join(f"CREATE INDEX of_{c} ON asset ({c}) WHERE {c} IS NOT NULL;" for c in _COLUMNS)}
"""


class Rows(Protocol):
    """What a statement returns, as plain values."""

    def __iter__(self) -> Iterator[Any]: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """What is done with a connection of SQLite."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Rows: ...
    def executemany(self, sql: str, values: Iterable[Sequence[Any]], /) -> Rows: ...


class DamagedError(StoreError):
    """A file of a folder's store is not what was written."""

    remedy = (
        "Run `anymodal store check --repair`, which says what is lost, and ingest it again; or put "
        "back a backup."
    )

    def __init__(self, where: object = "") -> None:
        damage = where or "files are missing or cut off"
        super().__init__(f"The store is damaged: {damage}.", remedy=self.remedy)


class LostDatabaseError(DamagedError):
    """The database is damaged, of which nothing can be made again."""

    remedy = (
        "Put a backup in its place (`anymodal store restore BACKUP`); or move the store's folder "
        "away and run `anymodal ingest` on your folders again."
    )


class GivenUpError(DamagedError):
    """A file is missing: its rows have moved since they were looked up, or it was removed."""


class Database:
    """Connections to one file of SQLite. Safe to use from threads; not usable after a fork.

    Raises:
        DamagedError: it is cut off, or no database.
        StoreError: it is of a different format, or has lost commits.
        StoreUnavailableError: others write for too long.
    """

    def __init__(self, path: Path, *, store_name: str = "") -> None:
        self.shown = store_name or str(path)
        self._path = path
        self._idle: LifoQueue[apsw.Connection] = LifoQueue()
        self._free = Semaphore(_MOST)
        self._here = local()
        self._pid = os.getpid()
        self._is_closed = False
        self.lost_commits = 0
        """Acknowledged commits that are not there; nothing is read or written then."""
        weakref.finalize(self, _close_all, self._idle)
        # SQLite alone may open the file: closing it elsewhere in this process would end all of the
        # process's POSIX locks on it, and others would remove the log that is still being written.
        try:
            # Read before the database, which may move on meanwhile, but never back.
            acknowledged = read_counter(path)
            with self.reading() as db:
                if (stored_format := fact(db, "format")) != FORMAT:
                    raise StoreError(
                        f"The store {self.shown} has format {stored_format}, not {FORMAT}.",
                        remedy="Export it with the version that wrote it, and import it here.",
                    )
                self.lost_commits = max(0, acknowledged - int(fact(db, "version")))
        except BaseException:
            self.close()
            raise

    @classmethod
    def make(cls, path: Path) -> None:
        """Create a new database with the tables; it is complete, or not there."""
        new_path = path.with_name(f"{path.name}.{os.getpid()}.new")
        db = _connected(new_path, apsw.SQLITE_OPEN_CREATE)
        try:
            db.reserve_bytes(reserve=_CHECKSUM_BYTES)
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("BEGIN IMMEDIATE")
            db.execute(_TABLES).fetchall()
            for name, value in (("format", FORMAT), ("version", 0)):
                set_fact(cast(Connection, db), name, value)
            db.execute("COMMIT")
        finally:
            db.close()
        new_path.replace(path)
        sync_folder(path.parent)

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """A block that reads and writes although commits were lost."""
        self._here.tolerates = True
        try:
            yield
        finally:
            self._here.tolerates = False

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection that sees the same state until the end of the block."""
        return self._connection("BEGIN")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose changes are committed together, or not at all.

        Nobody else may write in the block, nor note a commit.
        """
        with self._connection("BEGIN IMMEDIATE") as db:
            yield db
            version = version_of(db) + 1
            set_fact(db, "version", version)
        write_counter(self._path, version)

    def checkpoint(self) -> None:
        """Copy a long log to the file, as far as no reader needs it there."""
        # Another process may do it.
        with translated(self.shown), self._lent() as db, suppress(apsw.BusyError):
            n_pages, n_copied = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
            if n_pages - n_copied >= _LONG_LOG_PAGES:
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def backup(self, path: Path) -> int:
        """Copy the last commit to a new file, while others write; return its version."""
        with translated(self.shown):
            target = _connected(path, apsw.SQLITE_OPEN_CREATE)
            try:
                with self._lent() as db, target.backup("main", db, "main") as backup:
                    backup.step()
                return version_of(cast(Connection, target))
            finally:
                target.close()

    @contextmanager
    def _connection(self, begin: str) -> Iterator[Connection]:
        with translated(self.shown), self._turn(), self._lent() as db:
            try:
                db.execute(begin)
                yield cast(Connection, db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _lent(self) -> Iterator[apsw.Connection]:
        if self._is_closed:
            raise StoreError(f"The store {self.shown} is closed.", remedy="Open it again.")
        if self._pid != os.getpid():
            raise StoreError(
                f"The store {self.shown} was opened before this process was forked.",
                remedy="Open it in the process that uses it.",
            )
        if self.lost_commits and not getattr(self._here, "tolerates", False):
            raise DamagedError(
                f"{self.shown} lacks its last {self.lost_commits} commits, as if its log was "
                "removed or an old file was put back"
            )
        try:
            db = self._idle.get_nowait()
        except Empty:
            db = _connected(self._path)
        try:
            yield db
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

    def close(self) -> None:
        """Close all connections; may be called twice."""
        self._is_closed = True
        if self._pid == os.getpid():
            _close_all(self._idle)


def sync_folder(folder: Path) -> None:
    """Make the names of new files safe from power loss."""
    with opened(folder) as file:
        os.fsync(file)


@cache
def _load_checksums() -> None:
    """Register the VFS that checks pages, for all connections of this process."""
    apsw.sqlite_extra.load(apsw.Connection(":memory:"), "cksumvfs")


def _connected(path: Path, more_flags: int = 0) -> apsw.Connection:
    _load_checksums()
    flags = apsw.SQLITE_OPEN_READWRITE | more_flags
    db = apsw.Connection(str(path), flags=flags, vfs=_CHECKED_VFS)
    db.set_busy_timeout(_WAIT_MS)
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return db


def _close_all(idle: LifoQueue[apsw.Connection]) -> None:
    with suppress(Empty):
        while True:
            idle.get_nowait().close()


_NO_ROOM = {
    apsw.SQLITE_IOERR_WRITE,
    apsw.SQLITE_IOERR_FSYNC,
    apsw.SQLITE_IOERR_TRUNCATE,
    apsw.SQLITE_IOERR_SHMSIZE,
}


@contextmanager
def translated(store_name: str) -> Iterator[None]:
    """Raise SQLite's errors as our own."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreUnavailableError(f"The store {store_name} is being written: {error}.") from error
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        # Our statements are right, so where one is refused, tables are missing.
        raise LostDatabaseError(f"{store_name}: {error}") from error
    except apsw.Error as error:
        if (code := getattr(error, "extendedresult", 0)) == apsw.SQLITE_IOERR_DATA:
            raise LostDatabaseError(f"{store_name}: a page of the database was changed") from error
        # A file that another process removes while it is opened is a failed read, and no full disk.
        has_no_room = isinstance(error, apsw.FullError) or code in _NO_ROOM
        text = "no space left on device" if has_no_room else str(error)
        if full := disk_error_in(text, store_name):
            raise full from error
        raise StoreError(
            f"The database of the store {store_name} cannot be read: {error}.",
            remedy="Check that its files are there and that this user may read them.",
        ) from error


def version_of(db: Connection) -> int:
    """The number of commits."""
    return int(fact(db, "version"))


def fact(db: Connection, name: str) -> Any:
    """A single value; None if it is not known."""
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return json.loads(row[0]) if row else None


def set_fact(db: Connection, name: str, value: Any) -> None:
    """Keep a single value."""
    db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, json.dumps(value)))


def among(db: Connection, sql: str, values: Ids[Any]) -> Iterator[Any]:
    """The rows of a statement with ``{}`` for the parameters of these values, some at a time."""
    for batch in in_batches(values, _VALUES_PER_QUERY):
        yield from db.execute(sql.format(marks(batch)), batch)


NOS_OF_ASSETS = "SELECT no, asset_id FROM asset WHERE asset_id IN ({})"


def marks(values: object) -> str:
    """A parameter for each value.

    >>> marks("abc")
    '?, ?, ?'
    """
    return ", ".join("?" * len(values))  # type: ignore[arg-type]


DROPPED = "dropped-"
"""Begins the name of a lane's space while its rows are removed."""


class LaneNumbers:
    """The numbers of lanes, as a connection sees them.

    Args:
        db: a connection.
        lanes: those that are searched.
    """

    def __init__(self, db: Connection, lanes: StoreLanes) -> None:
        self._lanes = lanes
        rows = db.execute("SELECT lane, space, modality FROM lane").fetchall()
        self.all = {number: (space, modality_named(name)) for number, space, name in rows}
        self.searched: dict[int, Modality] = {
            number: modality
            for number, (space, modality) in self.all.items()
            if lanes.has(space, modality)
        }
        """The modality of each that is searched."""

    def stored(self, counts: Mapping[str, int]) -> Counts:
        """What an asset counts, from its JSON; without lanes that were dropped."""
        of_lanes = ((self.all.get(int(number)), n) for number, n in counts.items())
        return {lane: n for lane, n in of_lanes if lane and not lane[0].startswith(DROPPED)}

    def counts(self, counts: Mapping[str, int]) -> dict[Modality, int]:
        """See `StoreLanes.counts`."""
        if len(self.all) == len(self.searched) and not self._lanes.filling:
            of_all = ((self.searched.get(int(number)), n) for number, n in counts.items())
            return {modality: n for modality, n in of_all if modality and n}
        return self._lanes.counts(self.stored(counts))

    def numbers(self, modalities: Iterable[str]) -> list[int]:
        """Those of the lanes that are searched for these."""
        requested = {*modalities}
        return [number for number, modality in self.searched.items() if modality in requested]


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


def asset_values(row: AssetRow, counts: Mapping[int, int]) -> list[Any]:
    """The commit row as JSON, with what it counts by lane, and what filters compare."""
    fields = [
        row.modality, row.media_type, row.size_bytes, counts, list(row.locations), row.metadata
    ]  # fmt: skip
    return [json.dumps(fields), *values_of(row)]


def asset_of(asset_id: str, fields: str, lanes: LaneNumbers | None = None) -> AssetRow:
    """The commit row from its JSON, with the counts of the lanes that are searched, or none."""
    modality, media_type, size_bytes, counts, *locations_and_metadata = json.loads(fields)
    own_counts = lanes.counts(counts) if lanes else {}
    return AssetRow(
        asset_id,
        modality_named(modality),
        media_type,
        size_bytes,
        own_counts,
        *locations_and_metadata,
    )


def scored(columns: Sequence[Any], modality: Modality, cosine: float) -> ScoredSegment:
    """A segment that a search found, from its key, its asset, what it says and its row."""
    key, asset_id, *snippet_and_place = columns
    segment_id = key_of(key).partition("#")[0]
    return ScoredSegment(segment_id, asset_id, modality, cosine, *snippet_and_place)


def segment_of(
    columns: Sequence[Any], asset_id: str, modality: Modality, embedding: Embeddings
) -> SegmentRow:
    """A segment as it was written, from its columns and its vector."""
    key, _no, packed_index, *snippet_and_place = columns
    index, number = unpacked(packed_index)
    snippet_and_place.append(number)
    segment_id = key_of(key).partition("#")[0]
    return SegmentRow(segment_id, asset_id, modality, index, embedding, *snippet_and_place)
