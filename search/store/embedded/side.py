"""The index next to a record: opened, checked against it, and rebuilt if they differ.

A write has these steps, under a lock of all processes: the assets are noted as an intent; the
record is written; the index is written, and the intent removed, in one transaction. A process that
finds an intent while nobody holds the lock removes what the record has of its assets without commit
rows, which completes a deletion, and reads the others from the record again. The number of
the record's last write is stored in the index: if it differs, somebody wrote without the index, or
its files are older than the record, and the whole index is rebuilt, unless it knows more than the
record. A rebuild makes files beside those in use, and replaces them at once; who has the former
ones open sees that at the next call.

Lite scans all its rows unless it is given keys, which the index knows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import TypeAlias, TypeVar
from uuid import uuid4

from encoder.system.batched import in_batches
from encoder.system.disk import writing as on_disk
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import StoreBusyError, StoreError, StoreGoneError
from search.store import calibrated
from search.store.calibrated import StoredCalibration
from search.store.embedded.codes import CHUNK, replacing
from search.store.embedded.generation import (
    MARKS,
    TABLES,
    Generation,
    KnownRows,
    known_of,
    marks_in,
)
from search.store.embedded.record import Record
from search.store.embedded.tables import DamagedError, fact, set_fact
from search.store.embedded.texts import AT_ONCE
from search.store.embedded.writing import compact, keys_of, put, remove
from search.store.milvus.rows import Keys
from search.store.milvus.store import MilvusStore
from search.types import AssetRow, SegmentRow

SIDE = "side"
"""The folder, inside the store's."""
_CURRENT = "current"
"""The file that names the folder of the files in use; replaced when they have been rebuilt."""
_LOCK = "writing.lock"
_ROWS_AT_ONCE = 4096
_PATIENCE_S = 10.0
"""How long a reader waits for another process to mend the index after a kill."""
_POLL_S = 0.05
_TELL_S = 10.0
"""After this time, and then as often, a build says how far it is."""
_BEHIND = "behind"
"""The fact that somebody wrote to the record without the index; the next opening rebuilds it."""
_REWRITING = "rewriting"
"""The fact that somebody rewrites rows of the record unchanged, so that the number of its last
write means nothing."""
logger = logging.getLogger(__name__)
Mark: TypeAlias = tuple[int, int]
T = TypeVar("T")


class Side:
    """The index, open. Safe to use from threads and processes.

    It is built from the record. If it ``is_linked``, its files are links to another's, which stay
    as they are; it is rebuilt if it differs from the record.
    """

    def __init__(
        self,
        folder: Path,
        record: Record,
        embed_dim: int,
        store_name: str,
        *,
        is_linked: bool = False,
    ) -> None:
        self._folder = folder
        self._record = record
        self._embed_dim = embed_dim
        self._shown = store_name
        self._is_linked = is_linked
        self._threads = RLock()
        self._n_held = 0
        self._lock = -1
        self._generation: Generation | None = None
        self._seen: Mark | None = None
        self.lost: StoreError | None = None
        """What the record has lost, if this index knows more than it."""
        with on_disk(f"The store {store_name}"):
            private_folder(folder)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self.lost = None
        if self._lock >= 0:
            os.close(self._lock)
        with on_disk(f"The store {self._shown}"):
            self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with suppress(DamagedError):
            self._use()
            if self._is_level():
                return
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._bring_level()
                return
            except StoreBusyError:  # who holds the record mends the index, too, once it has opened
                if time.monotonic() >= until_s:
                    raise
            time.sleep(_POLL_S)

    def _bring_level(self) -> None:
        with self.exclusively():  # waits for processes that write or rebuild it
            with suppress(DamagedError):
                self._use()
                if self._is_level():  # by now; the record may be in use by who has written
                    return
            self.lost = self._lost_rows(known_of(self._folder / self._current_name() / TABLES))
            try:
                self._use()
                if self.lost is None:
                    self._mend()
            except DamagedError:
                if self.lost is not None:
                    raise self.lost from None
                self.rebuild()

    @property
    def current(self) -> Generation:
        """The files that are the store's now, opened again if they were rebuilt."""
        stamp = _mark(self._folder / _CURRENT)
        if stamp != self._seen and stamp is not None and not self._n_held:
            with self._threads:
                if stamp != self._seen:
                    self._open()
        assert self._generation is not None
        return self._generation

    def read(self, ask: Callable[[Generation], T]) -> T:
        """What the current files answer; if they are damaged, those rebuilt from the record."""
        files = self.current
        try:
            return ask(files)
        except (StoreError, FileNotFoundError) as error:
            if isinstance(error, StoreError) and not isinstance(error, DamagedError):
                if self.current is files:
                    raise
            else:
                self._replace(files)
        return ask(self.current)

    def _replace(self, damaged: Generation) -> None:
        with self.exclusively():
            if self._current_name() != damaged.name:
                self._use()  # who waited for the lock finds them rebuilt
            elif lost := self._lost_rows(known_of(self._folder / damaged.name / TABLES)):
                raise lost
            else:
                self.rebuild()

    def _is_level(self) -> bool:
        with self.current.tables.reading() as db:
            is_busy = bool(db.execute("SELECT count(*) FROM intent").fetchone()[0])
            if is_busy or fact(db, _BEHIND):
                return False
            if fact(db, _REWRITING):
                return True
            marks = marks_in(db)
            return bool(marks) and self._record.is_at(marks)

    def _mend(self) -> None:
        """Bring the index up to date; raises if somebody wrote to the record without it."""
        if self._is_linked:
            raise DamagedError
        n_mended = self.mend()
        with self.current.tables.reading() as db:
            (n_assets,) = db.execute("SELECT count(*) FROM asset WHERE row NOT NULL").fetchone()
        if not self._is_level() or (n_mended and n_assets != self._record.store.count()):
            raise DamagedError

    def _lost_rows(self, known_rows: KnownRows) -> StoreError | None:
        """The error if the index knows rows that the record has lost; it would be rebuilt from it.

        After a deletion without the index, the record has fewer rows too, but a later last write.
        """
        if not known_rows.mark or self._has_writes(known_rows):
            return None
        record = self._record.store
        record.flush()
        if self._has_writes(known_rows):
            return None
        stored: dict[str, int] = {"assets": record.count()}
        stored.update({str(collection): n for collection, n in record.sizes().items()})
        lost = [
            f"{stored.get(collection, 0)} of {n} {collection}"
            for collection, n in known_rows.sizes.items()
            if stored.get(collection, 0) < n
        ]
        if not lost:
            return None
        return StoreError(
            f"The record of the store {self._shown} has lost rows: it has {', '.join(lost)} that "
            "the index beside it knows.",
            remedy="Run `anymodal store check --repair`, which writes them back; searches go on "
            "until then, writes are refused.",
        )

    def _has_writes(self, known_rows: KnownRows) -> bool:
        flushed = self._record.flushed_writes()
        return all(n >= known for n, known in zip(flushed, known_rows.mark, strict=False))

    def _current_name(self) -> str:
        """The folder of the current files; empty if none is named, as in earlier versions."""
        try:
            name = (self._folder / _CURRENT).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return name if re.fullmatch("[0-9a-f]{32}", name) else ""

    def _use(self) -> None:
        """Open the files that are there; a `DamagedError` if they cannot be used."""
        stamp = _mark(self._folder / _CURRENT)
        generation = self._opened(self._folder / self._current_name())
        try:
            generation.check(self._embed_dim)
        except BaseException:
            generation.close()
            raise
        self._generation, self._seen = generation, stamp

    def _opened(self, folder: Path) -> Generation:
        return Generation(folder, self._embed_dim, self._shown, self.exclusively)

    def rebuild(self) -> None:
        """Build everything from the record, beside the current files, which it then replaces."""
        with self.exclusively():
            self._sweep_generations()
            record, name = self._record.store, uuid4().hex
            with on_disk(f"The store {self._shown}"):
                Generation.make(self._folder / name, self._shown)
            generation = self._opened(self._folder / name)
            try:
                self._fill(generation, record)
            except BaseException:
                generation.close()
                raise
            with on_disk(f"The store {self._shown}"), replacing(self._folder / _CURRENT) as new:
                new.write_text(name)
            self._generation, self._seen = generation, _mark(self._folder / _CURRENT)
            self.lost = None
            self._sweep_generations()

    def _fill(self, generation: Generation, record: MilvusStore) -> None:
        stored, committed = record.segments(), record.scan()
        n_done, tell_at_s = 0, time.monotonic() + _TELL_S
        for segments in in_batches(stored, _ROWS_AT_ONCE):
            with generation.tables.writing() as db:
                put(db, generation.views, [], segments)
            n_done += len(segments)
            if time.monotonic() >= tell_at_s:
                tell_at_s += _TELL_S
                logger.warning("Building the index of %s: %d segments so far.", self._shown, n_done)
        for assets in in_batches(committed, _ROWS_AT_ONCE):
            with generation.tables.writing() as db:
                put(db, generation.views, assets, [])
        generation.complete_codes()
        with generation.tables.writing() as db:
            self._level(db)
            set_fact(db, "embed_dim", self._embed_dim)
            set_fact(db, "calibration", calibrated.written(record.stored_calibration()))

    def _sweep_generations(self) -> None:
        """Remove former files, and those of builds that were cut off."""
        current_files = {_LOCK, _CURRENT, self._current_name()}
        for path in self._folder.iterdir() if "" not in current_files else ():
            if path.name not in current_files:
                # Who still uses former files may remove some of them at the same time.
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """A block in which no other thread and no other process writes; may be nested."""
        with self._threads:
            if not self._n_held:
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._n_held += 1
            try:
                seen = _mark(self._folder / _CURRENT)
                is_rebuilt = self._generation is not None and seen not in (None, self._seen)
                if self._n_held == 1 and is_rebuilt:  # while this one waited for the lock
                    with suppress(DamagedError):  # who reads it next rebuilds it
                        self._use()
                yield
            finally:
                self._n_held -= 1
                if not self._n_held:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def changing(self, asset_ids: Sequence[str]) -> Iterator[Keys | None]:
        """A block that writes assets to the record and to the index; see above.

        An error in the block leaves the intent, since it is not known what was written. It yields
        the keys of all their segments in the record; None unless these are known for certain.
        """
        with self.exclusively():
            self.check_there()
            self.mend()
            keys = self._keys(asset_ids)
            self._intend(asset_ids)
            yield keys

    def _keys(self, asset_ids: Sequence[str]) -> Keys | None:
        if not self._is_level():
            with self.current.tables.writing() as db:
                set_fact(db, _BEHIND, True)
            return None
        with self.current.tables.reading() as db:
            return keys_of(db, asset_ids)

    def check_there(self) -> None:
        """Raise unless the files are there, and the record has lost nothing.

        Without files, what is open still answers, but nothing can be kept.
        """
        if not (self._folder / _LOCK).exists():
            raise StoreGoneError.at(self._shown)
        _ = self.current
        if self.lost is not None:
            raise self.lost

    def rewriting(self) -> None:
        """Note that rows of the record are being rewritten unchanged; `rewritten` ends it."""
        with self.exclusively():
            self.check_there()
            with self.current.tables.writing() as db:
                set_fact(db, _REWRITING, True)

    def _intend(self, asset_ids: Sequence[str]) -> None:
        with self.current.tables.writing() as db:
            ids = [(asset_id,) for asset_id in set(asset_ids)]
            db.executemany("INSERT OR IGNORE INTO intent VALUES (?)", ids)

    def rewritten(self, calibration: StoredCalibration) -> None:
        """Note that rows of the record have different constants."""
        with self.exclusively(), self.current.tables.writing() as db:
            self._level(db)
            set_fact(db, "calibration", calibrated.written(calibration))
            set_fact(db, _REWRITING, False)

    def _level(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM intent")
        set_fact(db, MARKS, self._record.marks())

    def put(self, assets: Sequence[AssetRow], segments: Sequence[SegmentRow]) -> None:
        """Store what the record acknowledged, at the end of `changing`."""
        with on_disk(f"The store {self._shown}"), self.current.tables.writing() as db:
            put(db, self.current.views, assets, segments)
            self._level(db)
        self.current.complete_codes()
        self._compact()
        with suppress(OSError, ValueError):  # it is stored; a search reads the rest
            words, names = self.current.words, self.current.names
            if any(row.modality == TEXT for row in segments) and words.n_left() >= AT_ONCE:
                words.catch_up()
            if assets and names.n_left() >= AT_ONCE:
                names.catch_up()

    def remove(self, asset_ids: Sequence[str]) -> None:
        """The same for a deletion."""
        with self.current.tables.writing() as db:
            remove(db, asset_ids)
            self._level(db)
        self._compact()

    def mend(self) -> int:
        """Complete what was cut off; return the number of assets."""
        with self.current.tables.reading() as db:
            unfinished = [asset_id for (asset_id,) in db.execute("SELECT asset_id FROM intent")]
        if unfinished:
            record = self._record.store
            assets = record.assets(unfinished)
            # Their deletion was cut off, or their first writing, which nobody knows of.
            record.finish_removal([asset_id for asset_id in unfinished if asset_id not in assets])
            segments = [row for asset_id in assets for row in record.embeddings(asset_id)]
            with self.current.tables.writing() as db:
                remove(db, unfinished)
                put(db, self.current.views, list(assets.values()), segments)
                self._level(db)
        return len(unfinished)

    def _compact(self) -> None:
        with self.current.tables.reading() as db:
            sql = "SELECT count(*) FROM part WHERE n_slots - n_live > max(?, n_live)"
            (n,) = db.execute(sql, (CHUNK,)).fetchone()
        if n:
            self.current.sweep()  # files given up earlier: readers have long moved on
            self.current.words.catch_up()
            with self.current.tables.writing() as db:
                compact(db, self.current.views)

    def close(self) -> None:
        """Close all files; may be called twice."""
        if self._generation is not None:
            self._generation.close()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def _mark(path: Path) -> Mark | None:
    """By what a file is known to be the same; None if there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_ino, there.st_mtime_ns
