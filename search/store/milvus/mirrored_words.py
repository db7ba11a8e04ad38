"""Words for a server without BM25: an index of its texts in this process."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Collection as Ids
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Lock, Thread

from encoder.system.batched import in_batches
from encoder.system.private import private_folder
from encoder.types import TEXT
from search.errors import IndexNotReadyError, StoreError
from search.filters.milvus import among
from search.lexical import WordIndex
from search.lexical.index import MAX_FOUND, IndexedText
from search.store.folders import words_folder
from search.store.milvus.link import MilvusLink
from search.store.milvus.rows import MilvusRows
from search.store.milvus.words import MilvusWords, TextWords
from search.store.schema import (
    ASSETS,
    scalars_of,
    scored_from_text,
    text_of,
)
from search.store.segments import Collection
from search.store.several import FIRST_ROWS
from search.types import ScoredSegment, SegmentRow

REFRESH_S = 5.0
FULL_REFRESH_S = 60.0
_SLOWDOWN = 20
_ASSETS_PER_READ = 200
_TEXTS_AT_ONCE = 2000
_AT_ONCE = 2000
_KNOWN = "known.json"
_UNREAD = -1
"""In place of the number of segments of an asset whose commit row was not read since."""
_IS_TEXT = f'modality == "{TEXT}" and {FIRST_ROWS}'


class MirroredWords:
    """An index of a server's texts in this process, for servers without BM25.

    Writes and deletions by this store object are visible at once. Those by others become visible
    after `REFRESH_S` and the time to read them, or later if checking is slow: it takes at most a
    twentieth of the time. The index is built at the very first search, for a large library in the
    background. It is kept in files, with the fields of hits; only the ids of assets are in memory.
    The next process on this machine continues with it. It reads what has changed: in a small
    library first, in a large one while it already answers.

    Args:
        rows: of the collections.
        segments: the collection.
        home: where indexes of this collection are kept.
    """

    def __init__(self, rows: MilvusRows, segments: Collection, home: Path) -> None:
        self._rows = rows
        self._segments = segments
        self._lock = Lock()
        self._home = home
        self._folder: KeptFolder | None = None
        self._index: WordIndex | None = None
        self._unread: WordIndex | None = None
        self._wrote = False
        self._known: dict[str, int] = {}
        self._own: set[str] = set()
        self._next_s = 0.0
        self._next_full_s = 0.0
        self._thread: Thread | None = None

    def added(self, segments: Sequence[SegmentRow]) -> None:
        """Index texts that this store object wrote."""
        self._wrote = True
        if self._index is not None:
            own_rows = [row for row in segments if row.modality == TEXT and not row.row]
            texts = [text_of(scalars_of(row)) for row in own_rows]
            self._own.update(text.asset_id for text in texts)
            self._known.update(dict.fromkeys((text.asset_id for text in texts), _UNREAD))
            self._index.add(texts)
            self._index.commit()

    def removed(self, asset_ids: Sequence[str]) -> None:
        """Remove the texts of assets that this store object deleted."""
        self._wrote = True
        if self._index is not None:
            if self._folder is not None:
                self._folder.forget(asset_ids)
            for asset_id in asset_ids:  # if another adds one again, it is new
                self._known.pop(asset_id, None)
            self._index.remove(asset_ids)
            self._index.commit()

    def find(self, text: str, limit: int, asset_ids: Ids[str] | None) -> list[ScoredSegment]:
        """See `TextWords.find`; raises IndexNotReadyError until the texts have been read."""
        hits = self._refreshed().find(text, min(limit, MAX_FOUND), asset_ids)
        return [scored_from_text(hit) for hit in hits]

    def close(self) -> None:
        """Leave the index to the next process."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        index = self._index or self._unread
        self._index = self._unread = None
        if index is not None:
            index.close()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def _refreshed(self) -> WordIndex:
        """The index; a thread updates it when it is time, so that searches do not wait."""
        with self._lock:
            if self._index is None and self._unread is None:
                self._open()
            index = self._index or self._unread
            is_busy = self._thread is not None and self._thread.is_alive()
            if index and time.monotonic() >= self._next_s and not is_busy:
                self._thread = Thread(target=self._try_refresh, args=(index,), daemon=True)
                self._thread.start()
            if self._index is None:
                raise IndexNotReadyError(
                    "The words of this store are still being read, so only meaning counted.",
                    "Search again later.",
                )
            return self._index

    def _open(self) -> None:
        """Read what is new: in a small library now, in a large one in the background.

        Until then, a large one uses the index that an earlier process left.
        """
        index = self._opened()
        if self._rows.count(ASSETS) <= _AT_ONCE:
            self._refresh(index)
            self._index = index
        elif self._known and not self._wrote:
            self._index = index
        else:
            self._unread = index

    def _opened(self) -> WordIndex:
        """An earlier process's index, or an empty one; without a folder, it is a temporary one."""
        try:
            self._folder = self._folder or KeptFolder(self._home)
        except OSError:
            return WordIndex()
        self._known = self._folder.known()
        try:
            if self._known:
                return WordIndex(folder=self._folder.path)
        except (OSError, ValueError):
            self._known = {}
        self._folder.clear()
        return WordIndex(folder=self._folder.path)

    def _try_refresh(self, index: WordIndex) -> None:
        """The search itself reports an unreachable store, which is read again later."""
        try:
            self._refresh(index)
            self._index, self._unread = index, None
        except StoreError:
            self._next_s = time.monotonic() + REFRESH_S

    def _refresh(self, index: WordIndex) -> None:
        """Read the texts of new and changed assets, and remove deleted ones.

        The number of assets shows whether there are any, unless as many were added as deleted.
        """
        started_s = time.monotonic()
        own_ids, self._own = self._own, set()
        if started_s >= self._next_full_s or self._rows.count(ASSETS) != len(self._known):
            known, sizes = dict(self._known), self._sizes()
            changed = {asset_id for asset_id, size in sizes.items() if known.get(asset_id) != size}
            gone = known.keys() - sizes.keys() | changed & known.keys()
            index.remove(gone - own_ids - self._own)
            for texts in self._texts(sorted(changed)) if known else self._every_text():
                index.add(texts)
            index.commit()
            # Own texts may be committed yet, or have been deleted by another: the next time tells.
            uncertain_ids = (own_ids | self._own) - sizes.keys()
            self._known = sizes | dict.fromkeys(uncertain_ids, _UNREAD)
            if self._folder is not None:
                self._folder.keep(self._known)
            self._next_full_s = time.monotonic() + FULL_REFRESH_S
        ended_s = time.monotonic()
        self._next_s = ended_s + max(REFRESH_S, _SLOWDOWN * (ended_s - started_s))

    def _sizes(self) -> dict[str, int]:
        """Each asset's number of segments."""
        fields = ["asset_id", "n_segments"]
        rows = self._rows.where(ASSETS, "", fields)
        return {row["asset_id"]: row["n_segments"] for row in rows}

    def _every_text(self) -> Iterator[list[IndexedText]]:
        """The texts of all assets, some at a time."""
        rows = self._rows.where(self._segments, _IS_TEXT, self._segments.scalars)
        return (list(map(text_of, page)) for page in in_batches(rows, _TEXTS_AT_ONCE))

    def _texts(self, asset_ids: Sequence[str]) -> Iterator[list[IndexedText]]:
        """The texts of these assets, some at a time."""
        fields = self._segments.scalars
        for ids in in_batches(asset_ids, _ASSETS_PER_READ):
            expression = f"{_IS_TEXT} and {among('asset_id', ids)}"
            rows = self._rows.where(self._segments, expression, fields)
            yield [text_of(row) for row in rows]


class KeptFolder:
    """The first folder below ``home`` that no other process uses; a killed one's becomes free.

    Args:
        home: the parent of all folders for one store.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, home: Path) -> None:
        private_folder(home)
        for number in count():
            self._lock = (home / f"{number}.lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                continue
            self.path = home / str(number)
            private_folder(self.path)
            self._forgotten = self.path / "forgotten.txt"
            return

    def known(self) -> dict[str, int]:
        """Each asset's number of segments, as of the last `keep`; empty if nothing is known."""
        try:
            sizes: dict[str, int] = json.loads((self.path / _KNOWN).read_text())
            forgotten = self._forgotten.read_text().split() if self._forgotten.exists() else ()
        except (OSError, ValueError):
            return {}
        for asset_id in forgotten:
            sizes.pop(asset_id, None)
        return sizes

    def forget(self, asset_ids: Sequence[str]) -> None:
        """Note that the index holds these no longer; call it before their removal."""
        with self._forgotten.open("a") as file:
            file.writelines(f"{asset_id}\n" for asset_id in asset_ids)

    def keep(self, sizes: Mapping[str, int]) -> None:
        """Note atomically that the index holds these; call it after a commit."""
        partial = self.path / f"{_KNOWN}.new"
        partial.write_text(json.dumps(sizes))
        partial.replace(self.path / _KNOWN)
        self._forgotten.unlink(missing_ok=True)

    def clear(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self.path)
        private_folder(self.path)

    def close(self) -> None:
        """Let another process use it."""
        self._lock.close()


def open_words(link: MilvusLink, rows: MilvusRows, segments: Collection) -> TextWords:
    """The words of a server's texts: its own index, where it knows BM25."""
    if link.knows_bm25:
        return MilvusWords(link, rows, segments)
    return MirroredWords(rows, segments, words_folder(link.shown, rows.name(segments)))
