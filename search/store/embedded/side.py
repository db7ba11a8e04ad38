"""The index next to a record: opened, checked against it, and rebuilt if they differ.

A write has these steps, under a lock of all processes: the assets are noted as an intent; the
record is written; the index is written, and the intent removed, in one transaction. A process that
finds an intent while nobody holds the lock reads its assets from the record again. The number of
the record's last write is stored in the index: if it differs, somebody wrote without the index, or
its files are older than the record, and the whole index is rebuilt.

Lite scans all its rows unless it is given keys, which the index knows. So the index has to know all
of them: after a write that was cut off, and once in an index that was built from the record, rows
that no segment and no commit row names are removed from the record.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from threading import RLock

from encoder.system.disk import writing as on_disk
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import StoreError, StoreGoneError, StoreUnavailableError
from search.store import calibrated
from search.store.calibrated import StoredCalibration
from search.store.embedded.tables import DamagedError, Tables, empty, fact, set_fact
from search.store.embedded.texts.kept import AT_ONCE, KeptIndex
from search.store.embedded.texts.names import Names
from search.store.embedded.texts.words import KeptWords
from search.store.embedded.vectors.codes import CHUNK
from search.store.embedded.views import Views
from search.store.embedded.writing import compact, keys_of, put, remove
from search.store.lite.record import Record
from search.store.milvus.rows import Keys
from search.types import AssetRow, SegmentRow

SIDE = "side"
"""The folder, inside the store's."""
_TABLES = "tables.db"
_VECTORS = "vectors"
_TEXTS = ("words", "names")
_LOCK = "writing.lock"
_ROWS_AT_ONCE = 4096
_BEHIND = "behind"
"""The fact that somebody wrote to the record without the index; the next opening rebuilds it."""
_TIDY = "tidy"
"""The fact that the record has words and places only of what the index holds."""
_REWRITE = ""
"""An intent that changes nothing in the index."""
_REWRITING = "rewriting"
"""The fact that somebody rewrites rows of the record unchanged, so that the number of its last
write means nothing."""


class Side:
    """The index, open. Safe to use from threads and processes.

    Args:
        folder: for its files.
        record: what it is built from.
        embed_dim: the length of a vector.
        shown: the name of the store in messages.
    """

    def __init__(self, folder: Path, record: Record, embed_dim: int, shown: str) -> None:
        self._folder = folder
        self._record = record
        self._embed_dim = embed_dim
        self._shown = shown
        self._threads = RLock()
        self._n_held = 0
        with on_disk(f"The store {shown}"):
            private_folder(folder)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        with suppress(DamagedError):
            self._use()
            if self._is_level():
                return
        with self.exclusively():  # waits for processes that write or rebuild it
            self._close_files()
            try:
                self._use()
                self._mend()
            except DamagedError:
                self._make()

    def _is_level(self) -> bool:
        with self.tables.reading() as db:
            is_busy = bool(db.execute("SELECT count(*) FROM intent").fetchone()[0])
            if is_busy or fact(db, _BEHIND):
                return False
            return bool(fact(db, _REWRITING)) or fact(db, "record") == self._record.mark()

    def _mend(self) -> None:
        """Bring the index up to date with the record.

        Raises:
            DamagedError: somebody wrote without it.
        """
        n_mended = self.mend()
        with self.tables.reading() as db:
            (n_assets,) = db.execute("SELECT count(*) FROM asset WHERE row NOT NULL").fetchone()
        if not self._is_level() or (n_mended and n_assets != self._record.store.count()):
            raise DamagedError

    def _use(self) -> None:
        """Open the files that are there.

        Raises:
            DamagedError: they cannot be used.
        """
        self._open_files()
        check(self.tables, self.views, self._embed_dim)
        self.tables.complete()

    def _open_files(self) -> None:
        self.tables = Tables(self._folder / _TABLES, shown=self._shown)
        self.views = Views(self._folder / _VECTORS, self._embed_dim)
        self.words = KeptWords(self.tables, self._folder, self.exclusively)
        self.names = KeptIndex(self.tables, self._folder, self.exclusively, Names())

    def _make(self) -> None:
        """Rebuild everything from the record."""
        record = self._record.store
        self._close_files()
        if not self._emptied():
            self._discard()
            with on_disk(f"The store {self._shown}"):
                Tables.made(self._folder / _TABLES, self._shown).close()
        private_folder(self._folder / _VECTORS)
        self._open_files()
        self._sweep()
        stored, committed = record.segments(), record.scan()
        while segments := list(islice(stored, _ROWS_AT_ONCE)):
            with self.tables.writing() as db:
                put(db, self.views, [], segments)
        while assets := list(islice(committed, _ROWS_AT_ONCE)):
            with self.tables.writing() as db:
                put(db, self.views, assets, [])
        self._complete_codes()
        with self.tables.writing() as db:
            self._level(db)
            set_fact(db, "embed_dim", self._embed_dim)
            set_fact(db, "calibration", calibrated.written(record.stored_calibration()))

    def _emptied(self) -> bool:
        """Whether the tables could be emptied, so that processes that have them open can continue.

        Raises:
            StoreUnavailableError: others write for too long.
        """
        try:
            tables = Tables(self._folder / _TABLES, shown=self._shown)
        except DamagedError:
            return False
        try:
            with tables.writing() as db:
                empty(db)
        except StoreUnavailableError:
            raise
        except StoreError:
            return False
        finally:
            tables.close()
        return True

    def _discard(self) -> None:
        for name in (_VECTORS, *_TEXTS):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        for path in self._folder.glob(f"{_TABLES}*"):
            path.unlink()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """A block in which no other thread and no other process writes; may be nested."""
        with self._threads:
            if not self._n_held:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._n_held += 1
            try:
                yield
            finally:
                self._n_held -= 1
                if not self._n_held:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def changing(self, asset_ids: Sequence[str]) -> Iterator[Keys | None]:
        """A block that writes assets to the record and to the index; see above.

        An error in the block leaves the intent, since it is not known what was written.

        Yields:
            The keys of all their segments in the record; None unless these are known for certain.
        """
        with self.exclusively():
            self._check_in_place()
            self.mend()
            keys = self._keys(asset_ids)
            self._intend(asset_ids)
            yield keys

    def _keys(self, asset_ids: Sequence[str]) -> Keys | None:
        if not self._is_level():
            with self.tables.writing() as db:
                set_fact(db, _BEHIND, True)
            return None
        with self.tables.reading() as db:
            if fact(db, _TIDY):
                return keys_of(db, asset_ids)
        self._intend([_REWRITE])
        self._record.store.tidy()
        with self.tables.writing() as db:
            self._level(db)
            set_fact(db, _TIDY, True)
            return keys_of(db, asset_ids)

    def check_there(self) -> None:
        """Return if the files are still where they were opened.

        Raises:
            StoreGoneError: they are not. What is open still answers, but nothing can be kept.
            StoreError: there are others in their place.
        """
        try:
            there = (self._folder / _LOCK).stat()
        except FileNotFoundError:
            raise StoreGoneError.at(self._shown) from None
        if not os.path.samestat(there, os.fstat(self._lock)):
            raise self._made_again()

    def _check_in_place(self) -> None:
        self.check_there()
        if self.tables.is_replaced:
            raise self._made_again()

    def _made_again(self) -> StoreError:
        return StoreError(
            f"Another process found files of the store {self._shown} damaged or missing, and "
            "rebuilt them.",
            remedy="Open the store again.",
        )

    def rewriting(self) -> None:
        """Note that rows of the record are being rewritten unchanged; `rewritten` ends it."""
        with self.exclusively():
            self._check_in_place()
            with self.tables.writing() as db:
                set_fact(db, _REWRITING, True)

    def _intend(self, asset_ids: Sequence[str]) -> None:
        with self.tables.writing() as db:
            ids = [(one,) for one in set(asset_ids)]
            db.executemany("INSERT OR IGNORE INTO intent VALUES (?)", ids)

    def rewritten(self, calibration: StoredCalibration) -> None:
        """Note that rows of the record have different constants."""
        with self.exclusively(), self.tables.writing() as db:
            self._level(db)
            set_fact(db, "calibration", calibrated.written(calibration))
            set_fact(db, _REWRITING, False)

    def _level(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM intent")
        set_fact(db, "record", self._record.mark())

    def put(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store what the record acknowledged, at the end of `changing`."""
        with on_disk(f"The store {self._shown}"), self.tables.writing() as db:
            put(db, self.views, assets, segments)
            self._level(db)
        self._complete_codes()
        self._compact()
        with suppress(OSError, ValueError):  # it is stored; a search reads the rest
            if any(row.modality == TEXT for row in segments) and self.words.n_left() >= AT_ONCE:
                self.words.catch_up()
            if assets and self.names.n_left() >= AT_ONCE:
                self.names.catch_up()

    def remove(self, asset_ids: Sequence[str]) -> None:
        """The same for a deletion."""
        with self.tables.writing() as db:
            remove(db, asset_ids)
            self._level(db)
        self._compact()

    def mend(self) -> int:
        """Read from the record the assets whose writing was cut off; return their number."""
        with self.tables.reading() as db:
            ids = [one for (one,) in db.execute("SELECT asset_id FROM intent")]
        wanted = [one for one in ids if one != _REWRITE]
        if wanted:
            record = self._record.store
            segments = [row for one in wanted for row in record.embeddings(one)]
            assets = record.assets(wanted)
            record.flush()  # the number of its last write would change when it is closed
            with self.tables.writing() as db:
                remove(db, wanted)
                put(db, self.views, list(assets.values()), segments)
                set_fact(db, _TIDY, False)
        if ids:
            with self.tables.writing() as db:
                self._level(db)
        return len(wanted)

    def _complete_codes(self) -> None:
        """Make the codes of new complete chunks, so that no search waits for them."""
        with self.tables.reading() as db:
            for part in self.views.current(db).parts.values():
                part.files.complete(part.n_slots)

    def _compact(self) -> None:
        with self.tables.reading() as db:
            sql = "SELECT count(*) FROM part WHERE n_slots - n_live > max(?, n_live)"
            (n,) = db.execute(sql, (CHUNK,)).fetchone()
        if n:
            self._sweep()  # files given up earlier: readers have long moved on
            self.words.catch_up()
            with self.tables.writing() as db:
                compact(db, self.views)

    def _sweep(self) -> None:
        """Remove the files of parts that were given up."""
        with self.tables.reading() as db:
            parts = {str(part) for (part,) in db.execute("SELECT part FROM part")}
        for path in (self._folder / _VECTORS).iterdir():
            if path.name.partition(".")[0] not in parts:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close all files; may be called twice."""
        self._close_files()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _close_files(self) -> None:
        for name in ("names", "words", "views", "tables"):
            if (part := getattr(self, name, None)) is not None:
                part.close()


def check(tables: Tables, views: Views, embed_dim: int) -> None:
    """Raise `DamagedError` unless the files are complete, and of this dimension."""
    with tables.reading() as db:
        if fact(db, "embed_dim") != embed_dim:  # written last
            raise DamagedError
        for part, n_slots in db.execute("SELECT part, n_slots FROM part"):
            views.files(part).check(n_slots)
