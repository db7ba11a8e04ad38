"""Indexes of words in a folder: of texts, and of the names of assets.

Each is a `search.lexical.WordIndex` in files, and what it has not read yet, its tail, which each
process that searches indexes in its own memory. The database lists the tail. Who writes feeds the
files once the tail is long; one process at a time, while others write and search. To read a text
twice does no harm, so files and database need not be written together.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from mmap import PROT_READ, mmap
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from encoder.system.batched import in_batches
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.lexical import WordIndex
from search.lexical.index import FoundText, IndexedText
from search.lexical.names import text_of
from search.lexical.rarity import Frequencies
from search.store.folder.database import (
    Connection,
    Database,
    among,
    asset_of,
    fact,
    set_fact,
    version_of,
)
from search.store.folder.writing import NAMES, words_in
from search.store.folders import opened
from search.store.several import key_of, stored_key

_META = "meta.json"
"""Tantivy's list of its files."""
AT_ONCE = 4096
"""The longest tail that is read while somebody waits, and the most texts read at once."""
LONG = 2000
"""A tail of so many is fed to the files by who writes."""
_WORTHWHILE = 200
"""A tail of so many is fed when who wrote it leaves."""
_IDS_PER_QUERY = 1000


class Source(Protocol):
    """What an index is built from."""

    name: str
    has_numbers: bool

    def texts(self, db: Connection, ids: Sequence[str]) -> list[IndexedText]:
        """These as they are now; empty texts for what is gone."""

    def ids_after(self, db: Connection, after: str, limit: int) -> list[str]:
        """The first ids after one, in their order; all of them without a limit, which is -1."""


class KeptIndex:
    """An index in files and its tail. Safe to use from threads and processes.

    ``folder`` is that of all indexes; nobody else writes to the database in a block of
    ``exclusively``. An index that is ``read_only`` has all that its files lack in its tail.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        exclusively: Callable[[], AbstractContextManager[object]],
        source: Source,
        *,
        read_only: bool = False,
    ) -> None:
        self._database = database
        self._parent = folder
        self._exclusively = exclusively
        self._source = source
        self._read_only = read_only
        self._fact = f"{source.name}_files"
        self._sums: dict[str, int] = {}
        self._files: WordIndex | None = None
        self._state: Any = None
        """The fact by which the files are known: their folder, when they were written, sums."""
        self._lost: Any = None
        """The state of files that were damaged."""
        self._tail: WordIndex | None = None
        self._tail_ids: set[str] = set()
        self._last_seq = 0
        self._version = -1
        self._lock = Lock()
        self._thread: Thread | None = None

    # Searching

    def find(
        self,
        text: str,
        limit: int,
        asset_ids: Sequence[str] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> list[FoundText]:
        """See `WordIndex.find`, as of the last `refresh`."""
        with self._lock:
            files, tail, tail_ids = self._files, self._tail, frozenset(self._tail_ids)
        hits = tail.find(text, limit, asset_ids, wanted, beside=files) if tail else []
        if files is not None:
            try:
                old_hits = files.find(text, limit, asset_ids, wanted, beside=tail)
            except (OSError, ValueError):
                self._lose()
                self.refresh()
                return self.find(text, limit, asset_ids, wanted)
            hits += [hit for hit in old_hits if hit.segment_id not in tail_ids]
        return sorted(hits, key=lambda hit: (-hit.score, hit.segment_id))

    def frequencies(self, index_terms: Collection[str]) -> Frequencies:
        """See `WordIndex.frequencies`, as of the last `refresh`."""
        counts = [index.frequencies(index_terms) for index in (self._files, self._tail) if index]
        return Frequencies(
            sum(count.n_texts for count in counts),
            {term: sum(count.of[term] for count in counts) for term in index_terms},
        )

    def refresh(self) -> None:
        """Make sure that the next `find` knows all texts, or raise IndexNotReadyError.

        What the files lack is indexed in memory; nothing is written.
        """
        with self._lock, self._database.reading() as db:
            if (version := version_of(db)) == self._version:
                return
            self._open(db)
            missing = (
                self._source.ids_after(db, "", AT_ONCE + 1)
                if self._files is None and not self._tail_ids
                else self._unread(db, self._last_seq, AT_ONCE + 1)
            )
            if len(missing) <= AT_ONCE or self._read_only:
                with suppress(OSError, ValueError):  # no memory, no thread: the next search tries
                    self._read_tail(db)
                    self._version = version
                    return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._feed_quietly, daemon=True)
                self._thread.start()
        counted = "the older ones" if self.is_there else "meaning"
        raise IndexNotReadyError(
            f"The {self._source.name} of this store are still being read, so only {counted} "
            "counted.",
            "Search again later.",
        )

    @property
    def is_there(self) -> bool:
        """Whether `find` knows any texts."""
        return bool(self._files or self._tail)

    def _open(self, db: Connection) -> None:
        """Open the files that are there, if they are others than before."""
        state = fact(db, self._fact)
        if state == self._state:
            return
        self._tail, self._tail_ids, self._last_seq = None, set(), 0
        self._state, former = state, self._state
        if state is None or state == self._lost:
            self._files = None
            return
        folder, _, sums = state
        try:
            self._verify(self._parent / folder, sums)
            if self._files is None or former is None or former[0] != folder:
                self._files = self._in(self._parent / folder)
            self._files.reload()
        except (OSError, ValueError):
            self._files, self._lost = None, state

    def _lose(self) -> None:
        with self._lock:
            self._lost, self._files, self._state, self._version = self._state, None, None, -1

    def _unread(self, db: Connection, after: int, limit: int) -> list[tuple[int, str]]:
        sql = "SELECT seq, id FROM unread WHERE source = ? AND seq > ? ORDER BY seq LIMIT ?"
        return db.execute(sql, (self._source.name, after, limit)).fetchall()

    def _last(self, db: Connection) -> int:
        """The last change of all."""
        (seq,) = db.execute("SELECT max(seq) FROM unread").fetchone()
        return seq or 0

    def _read_tail(self, db: Connection) -> None:
        if self._files is None and self._tail is None:
            last_seq, ids = self._last(db), self._source.ids_after(db, "", -1)
        else:
            unread = self._unread(db, self._last_seq, -1)
            last_seq = unread[-1][0] if unread else self._last_seq
            ids = list(dict.fromkeys(unread_id for _, unread_id in unread))
        if ids:
            self._tail = self._tail or WordIndex(has_numbers=self._source.has_numbers)
            for some in in_batches(ids, _IDS_PER_QUERY):
                self._tail.add(self._source.texts(db, some))
            self._tail.commit()
            self._tail_ids.update(ids)
        self._last_seq = last_seq

    def lacking(self) -> Iterator[str]:
        """The ids of the texts that `find` does not know, or knows with other notes."""
        for texts in self._all():
            ids = [text.segment_id for text in texts]
            notes: dict[str, bytes] = {}
            for index in (self._files, self._tail):
                notes |= index.notes(ids) if index else {}
            for text in texts:
                note = notes.get(text.segment_id)
                if text.index_terms and (note is None or _sorted(note) != _sorted(text.note)):
                    yield text.segment_id

    def _all(self) -> Iterator[list[IndexedText]]:
        """All texts, some at a time, each as of the last commit."""
        after = ""
        while True:
            with self._database.reading() as db:
                ids = self._source.ids_after(db, after, AT_ONCE)
                texts = self._source.texts(db, ids)
            if not ids:
                return
            yield texts
            after = ids[-1]

    # Feeding

    def n_unread(self) -> int:
        """The length of the tail."""
        with self._database.reading() as db:
            sql = "SELECT count(*) FROM unread WHERE source = ?"
            return int(db.execute(sql, (self._source.name,)).fetchone()[0])

    def feed_if_long(self, *, is_last: bool = False) -> None:
        """Feed the tail to the files if it is long; ``is_last`` if nobody may do it later."""
        if self.n_unread() >= (_WORTHWHILE if is_last else LONG):
            self.feed()

    def feed(self, *, waits: bool = False) -> None:
        """Feed the tail to the files, and make lost files anew.

        If another does so already, leave it to it, or wait for it.
        """
        # A later writer feeds the rest, which searches until then read by themselves.
        with suppress(OSError, ValueError), self._feeding(waits) as is_alone:
            while is_alone and self._feed_some():
                pass

    def catch_up(self) -> None:
        """See `refresh`; a long tail is fed to the files first, also if that has just begun."""
        if self._thread is not None:
            self._thread.join()
        try:
            self.refresh()
        except IndexNotReadyError:  # far behind, or lost
            self.feed(waits=True)
            self.refresh()

    def make_anew(self) -> None:
        """Make the files again, from the texts."""
        self._lose()
        self.feed(waits=True)

    def _feed_some(self) -> bool:
        """Whether more is left than what others may have written meanwhile.

        Who fed that as well would never end beside a busy writer.
        """
        with self._lock, self._database.reading() as db:
            self._open(db)
            is_new = self._files is None
            unread = self._unread(db, 0, AT_ONCE)
            ids = list(dict.fromkeys(unread_id for _, unread_id in unread))
            texts = [] if is_new else self._source.texts(db, ids)
            last_seq = self._last(db) if is_new else unread[-1][0] if unread else 0
        if not is_new and not unread:
            return False
        name = f"{self._source.name}.{uuid4().hex}" if is_new else str(self._state[0])
        index = self._in(private_folder(self._parent / name))
        try:
            for some in self._all() if is_new else ():
                index.add(some)
                index.commit()
            index.add(texts)
            index.commit()
        finally:
            index.release()
        self._note(name, last_seq)
        return is_new or len(unread) == AT_ONCE

    def _note(self, name: str, last_seq: int) -> None:
        sums = {path.name: self._sum(path) for path in _unchanging(self._parent / name)}
        with self._exclusively(), self._database.writing() as db:
            read = "DELETE FROM unread WHERE source = ? AND seq <= ?"
            db.execute(read, (self._source.name, last_seq))
            set_fact(db, self._fact, [name, time.time_ns(), sums])
        for path in self._parent.glob(f"{self._source.name}.*"):
            if path.is_dir() and path.name != name:
                shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _feeding(self, waits: bool) -> Iterator[bool]:
        """Whether nobody else feeds this index."""
        path = self._parent / f"{self._source.name}.lock"
        with opened(path, os.O_RDWR | os.O_CREAT) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
                is_alone = True
            except BlockingIOError:
                is_alone = False
            yield is_alone

    def _feed_quietly(self) -> None:
        with suppress(StoreError, ValueError):  # reported by the next search, which tries again
            self.feed()

    # Files

    def _in(self, folder: Path) -> WordIndex:
        return WordIndex(folder, has_numbers=self._source.has_numbers)

    def _verify(self, folder: Path, sums: dict[str, int]) -> None:
        """Read each file once in this process; an error if one was changed, or all are gone.

        One that is missing may have been merged with others.
        """
        if not (folder / _META).exists():  # an empty index would be created
            raise FileNotFoundError(folder / _META)
        for path in _unchanging(folder):
            if path.name in sums:
                with suppress(FileNotFoundError):
                    if self._sum(path) != sums[path.name]:
                        raise ValueError(path.name)

    def _sum(self, path: Path) -> int:
        """Mapped, since copies take four times as long."""
        if path.name not in self._sums:
            checksum = 0
            if path.stat().st_size:
                with path.open("rb") as file, mmap(file.fileno(), 0, prot=PROT_READ) as content:
                    checksum = zlib.crc32(content)
            self._sums[path.name] = checksum
        return self._sums[path.name]

    def close(self) -> None:
        """Release the files."""
        with self._lock:
            self._files = self._tail = self._state = None
            self._version = -1


def _unchanging(folder: Path) -> Iterator[Path]:
    """Tantivy's files that are never changed."""
    return (path for path in folder.iterdir() if path.suffix not in (".json", ".lock"))


def _sorted(note: bytes) -> list[list[bytes]]:
    """A note, whatever the order of its words, which differs between processes."""
    return [sorted(line.split()) for line in note.split(b"\n")]


class TextSource:
    """The texts of a space's segments, by their keys."""

    has_numbers = True
    """Filters look at the numbers of assets."""

    def __init__(self, space: str) -> None:
        self.name = words_in(space)
        self._space = space

    def texts(self, db: Connection, ids: Sequence[str]) -> list[IndexedText]:
        texts = {segment_id: IndexedText(segment_id, "", "") for segment_id in ids}
        sql = (
            "SELECT key, asset_id, snippet, no FROM segment JOIN asset USING (no) WHERE key IN ({})"
        )
        for key, asset_id, text, no in among(db, sql, [*map(stored_key, ids)]):
            texts[key_of(key)] = IndexedText(key_of(key), asset_id, text, asset_no=no)
        return list(texts.values())

    def ids_after(self, db: Connection, after: str, limit: int) -> list[str]:
        sql = (
            "SELECT key FROM segment JOIN part ON part.part = segment.at >> 40 JOIN lane "
            "USING (lane) WHERE key > ? AND space = ? AND modality = ? AND number = 0 "
            "ORDER BY key LIMIT ?"
        )
        rows = db.execute(sql, (stored_key(after), self._space, TEXT, limit))
        return [key_of(key) for (key,) in rows]


class NameSource:
    """The names of assets, by their ids; those whose file is gone have none."""

    name = NAMES
    has_numbers = False

    def texts(self, db: Connection, ids: Sequence[str]) -> list[IndexedText]:
        texts = {asset_id: IndexedText(asset_id, "", "") for asset_id in ids}
        sql = "SELECT asset_id, row FROM asset WHERE row IS NOT NULL AND asset_id IN ({})"
        rows = [asset_of(*columns) for columns in among(db, sql, ids)]
        texts |= {row.asset_id: text_of(row) for row in rows if not row.is_gone}
        return list(texts.values())

    def ids_after(self, db: Connection, after: str, limit: int) -> list[str]:
        sql = (
            "SELECT asset_id FROM asset WHERE row IS NOT NULL AND asset_id > ? "
            "ORDER BY asset_id LIMIT ?"
        )
        return [asset_id for (asset_id,) in db.execute(sql, (after, limit))]
