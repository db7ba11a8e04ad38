"""The store in a folder: one database and files of vectors, for any number of processes.

A folder has a database (`folder.database`), vectors with their codes beside it
(`folder.vector_files`), and indexes of words and of names (`folder.words`). The database is the
store: what it does not know of does not count. Codes and words are made from it, also anew.

A write has these steps: rows are checked; one lock of all processes is taken; vectors are appended
and synced; one transaction writes the rows, the slots that are dead and what the indexes of words
have to read; the number of the commit is noted in a file; the lock is left. Codes, words and the
moving of scattered rows follow, for whoever wrote. Readers take a snapshot of the database and
never a lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from threading import RLock
from typing import Any

from encoder.errors import DiskError
from encoder.system.batched import in_batches
from encoder.system.disk import check_room
from encoder.system.disk import writing as on_disk
from encoder.system.private import private_folder, tighten
from encoder.types import TEXT, Modality
from search.errors import (
    ReadOnlyStoreError,
    StoreError,
    StoreGoneError,
)
from search.store.calibrated import Calibrations, Constants, StoredCalibration, written
from search.store.checking import (
    DAMAGED,
    DAMAGED_ROWS,
    FORMER,
    INCOMPLETE,
    INDEX_NAMES,
    INDEX_WORDS,
    LOST_COMMITS,
    MISCOUNTED,
    ORPHANED,
    Findings,
    Progress,
    mended,
)
from search.store.checks import checked_asset, checked_segments
from search.store.folder.backup import copy_content
from search.store.folder.checking import FolderCheck
from search.store.folder.database import (
    NOS_OF_ASSETS,
    Connection,
    Database,
    LaneNumbers,
    LostDatabaseError,
    among,
)
from search.store.folder.read_only import Mirror, is_read_only, unreadable
from search.store.folder.reading import Reading, noted_calibration, noted_lanes
from search.store.folder.views import Views
from search.store.folder.words import KeptIndex, NameSource, TextSource
from search.store.folder.writing import (
    drop_empty_parts,
    drop_lane,
    leave_former_lanes,
    move_some,
    note_spaces,
    put,
    remove,
    remove_segments,
    remove_some,
    scattered,
    words_in,
)
from search.store.folders import CONTENT, DATABASE, LOCK, VECTORS, check_place
from search.store.lanes import StoreLanes
from search.store.locks import folder_locks, lock_in_turn, thread_locks
from search.types import AssetRow, SegmentRow

_DELETED_AT_ONCE = 250
_ROW_BYTES = 4096
"""The usual size of a row without its vector, in the log and in the database."""
_FEW_ROWS = 100_000
"""The number of rows of all kinds whose codes are compared within 4 ms."""


class FolderStore(Reading):
    """A `VectorStore` in a folder. Safe to use from threads and processes; open it after a fork.

    Args:
        folder: one that may not be written to is mirrored.
        lanes: that are searched and written to, or filled.
        check_current: raises if nobody searches these lanes any more; called before each change.

    Raises:
        StoreError: the files cannot be read, are damaged or of another format.
        DiskError: there is no room for a new store.
    """

    def __init__(
        self,
        folder: Path,
        lanes: StoreLanes,
        *,
        check_current: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self._shown = str(folder)
        self.lanes = lanes
        self.read_only = is_read_only(folder)
        self._mirror = Mirror(folder) if self.read_only else None
        self._root = self._mirror.folder if self._mirror else folder
        self._folder = self._root / CONTENT
        self.locks = thread_locks() if self._mirror else folder_locks(folder)
        self._check_current = check_current or bool
        self._threads = RLock()
        self._lock = self._turn = -1
        self._n_held = 0
        self._has_written = False
        try:
            with on_disk(f"The store {self._shown}"):
                self._open()
        except PermissionError as error:
            self.close()
            raise unreadable(folder, error) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        if not self._mirror:
            check_place(self._root)
            private_folder(self._folder / VECTORS)
            tighten(self._root)
        path = self._folder / DATABASE
        self._lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if not path.exists():
            with self._exclusively():
                if not path.exists():  # another process may have been first
                    if any((self._folder / VECTORS).iterdir()):
                        raise LostDatabaseError(f"{self._shown} lacks {path.name}")
                    Database.make(path)
        database = Database(path, store_name=self._shown)
        try:
            self.lanes, are_noted = noted_lanes(database, self.lanes)
            if not (are_noted or self._mirror):
                with self._exclusively(), database.writing() as db:
                    note_spaces(db, self.lanes)
        except BaseException:
            database.close()
            raise
        self._database = database
        self.calibrations = Calibrations(
            self.lanes.home.fingerprint,
            lambda space: noted_calibration(database, self.lanes.spaces[space]),
        )
        self._views = Views(self._folder / VECTORS, self.lanes)
        self._words, self._names = (
            KeptIndex(database, self._folder, self._exclusively, source, read_only=self.read_only)
            for source in (TextSource(self.lanes.space(TEXT).fingerprint), NameSource())
        )
        self._indexes = {INDEX_WORDS: self._words, INDEX_NAMES: self._names}

    @property
    def in_process(self) -> bool:
        """See `VectorStore.in_process`; kinds with many rows are searched in parallel."""
        return self._views.n_slots <= _FEW_ROWS  # as of the last search

    def recalibrate(self, constants: Constants, origin: Mapping[str, Any], space: str = "") -> None:
        text = written(StoredCalibration(constants, origin))
        with self._writing() as db:
            sql = "UPDATE space SET calibration = ? WHERE space = ?"
            db.execute(sql, (text, space or self.lanes.home.fingerprint))
        self.calibrations.forget()

    # Writing

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """A block in which no other thread and no other process writes; may be nested."""
        with self._threads:
            if not self._n_held:
                lock_in_turn(self._turn, self._lock, f"The store {self._shown}")
            self._n_held += 1
            try:
                yield
            finally:
                self._n_held -= 1
                if not self._n_held:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A block whose changes are committed together; on the disk when it ends."""
        self._check_changeable()
        self._check_current()
        with self._exclusively(), on_disk(f"The store {self._shown}"):
            self._check_there()
            with self._db.writing() as db:
                yield db
            self._has_written = True

    def _check_changeable(self) -> None:
        if self._mirror:
            raise ReadOnlyStoreError.at(self._shown)

    def _check_there(self) -> None:
        """Raise unless the files are those that were opened.

        Without files, what is open still answers, but nothing can be kept.
        """
        try:
            same = os.path.samestat((self._folder / LOCK).stat(), os.fstat(self._lock))
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreGoneError.at(self._shown)

    def check_writable(self) -> None:
        """See `VectorStore.check_writable`."""
        self._check_changeable()
        self._check_there()
        self._check_current()
        check_room(self._root)

    def write(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        stored = checked_segments(segments, self.lanes)
        checked = [checked_asset(row) for row in assets]
        self._check_changeable()
        n_bytes = sum(4 * row.embedding.size + _ROW_BYTES for row in stored)
        check_room(self._root, n_bytes + _ROW_BYTES * len(checked))
        with self._writing() as db:
            put(db, self._views, self.lanes, checked, stored)
        self._settle()

    def delete(self, asset_ids: Sequence[str]) -> None:
        for ids in in_batches(asset_ids, _DELETED_AT_ONCE):  # so that others wait less
            with self._writing() as db:
                (self._empty if self.lanes.filling else remove)(db, ids)
        self._settle()

    def empty(self, asset_ids: Sequence[str]) -> None:
        with self._writing() as db:
            self._empty(db, asset_ids)
        self._settle()

    def _empty(self, db: Connection, asset_ids: Sequence[str]) -> None:
        """Remove segments from the lanes that are filled, or else from those that are searched."""
        filling, numbers = self.lanes.filling, LaneNumbers(db, self.lanes)
        modalities = filling.modalities if filling else numbers.searched.values()
        nos = [no for no, _ in among(db, NOS_OF_ASSETS, asset_ids)]
        remove_segments(db, nos, numbers.numbers(modalities))

    def stored_lanes(self) -> set[tuple[str, Modality]]:
        with self._db.reading() as db:
            return {*LaneNumbers(db, self.lanes).all.values()}

    def drop(self, space: str, modality: Modality) -> int:
        with self._writing() as db:
            number = drop_lane(db, space, modality)
        n_rows = 0
        while True:  # in steps, so that others wait less
            with self._writing() as db:
                n_removed = remove_some(db, number)
            if not n_removed:
                break
            n_rows += n_removed
        if modality == TEXT:
            for words in self._folder.glob(f"{words_in(space)}.*"):
                rmtree(words, ignore_errors=True)
        self._settle()
        return n_rows

    def _settle(self) -> None:
        """Make what searches would otherwise have to; nothing of it is needed to be right."""
        with suppress(OSError, ValueError, StoreError, DiskError):
            with self._db.reading() as db:
                parts = db.execute(
                    "SELECT part, embed_dim, n_slots, sum FROM part "
                    "JOIN lane USING (lane) JOIN space USING (space)"
                ).fetchall()
                has_moves = scattered(db) is not None
            for part_no, embed_dim, n_slots, total in parts:
                self._views.files(part_no, embed_dim).complete(n_slots, total)
            while has_moves:  # some rows at a time, to where they lie close
                self._sweep()
                with self._writing() as db:
                    move_some(db, self._views)
                    has_moves = scattered(db) is not None
            self._words.feed_if_long()
            self._names.feed_if_long()
            self._db.checkpoint()

    def _sweep(self) -> None:
        """Remove files of parts given up by an earlier call: readers have long moved on."""
        with self._exclusively():  # what another is just adding is not committed yet
            with self._db.reading() as db:
                part_nos = {str(part_no) for (part_no,) in db.execute("SELECT part FROM part")}
            for path in (self._folder / VECTORS).iterdir():
                if path.name.partition(".")[0] not in part_nos:
                    path.unlink(missing_ok=True)

    def catch_up(self) -> None:
        """Do nothing: every read sees all that was written."""

    # Proof

    def check(self, progress: Progress) -> Findings:
        """See `search.store.checking.Checkable`."""
        with self._db.tolerating():
            with self._db.reading() as db:
                findings = FolderCheck(db, self.lanes, self._views).find(progress)
            if not findings.of(DAMAGED):
                for difference, index in self._indexes.items():
                    index.catch_up()
                    for name in index.lacking():
                        findings.add(difference, name)
        if self._db.lost_commits:
            findings.add(LOST_COMMITS, f"{self._db.lost_commits} commits")
        return findings

    def repair(self, findings: Findings) -> None:
        """See `search.store.checking.Checkable`."""
        with self._db.tolerating():
            to_empty = [*findings.of(INCOMPLETE), *findings.of(DAMAGED_ROWS)]
            rows = self.assets([*to_empty, *findings.of(MISCOUNTED)])
            counts = self.counted(list(rows))
            with self._writing() as db:
                self._empty(db, to_empty)
                put(db, self._views, self.lanes, mended(findings, rows, counts), [])
                remove(db, findings.of(ORPHANED))
                leave_former_lanes(db, self.lanes, findings.of(FORMER))
                drop_empty_parts(db)
            self._db.lost_commits = 0
        for difference, index in self._indexes.items():
            if findings.of(difference):
                index.make_anew()
        self._settle()

    def backup(self, folder: Path) -> int:
        """Copy the store to a new folder, as of one moment, while others write to it.

        Codes and words are not copied: whoever opens the copy makes them.

        Returns:
            The number of assets in the copy.

        Raises:
            StoreUnavailableError: rows moved while they were copied, again and again.
        """
        return copy_content(self._db, self._folder, folder / CONTENT)

    def ping(self) -> None:
        self._check_there()
        with self._db.reading():
            pass

    def close(self) -> None:
        if self._database is not None:
            if self._has_written and self._lock >= 0:
                with suppress(Exception):  # a later writer does it
                    self._words.feed_if_long(is_last=True)
                    self._names.feed_if_long(is_last=True)
            self._names.close()
            self._words.close()
            self._views.close()
            self._database.close()
        descriptors, self._lock, self._turn = (self._lock, self._turn), -1, -1
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)
        if self._mirror:
            self._mirror.close()
