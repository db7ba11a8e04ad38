"""Open a store that may be read but not written to.

Milvus Lite writes a lock, a log and folders when it opens a store, and SQLite and Tantivy write
beside their files. They get a temporary folder instead: new folders, links to files that are never
changed, copies of the others. The store itself stays untouched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

from search.errors import StoreBusyError, StoreError

_LOCK = "LOCK"
_HOLDER = "holder.pid"
_CHANGED = ("", ".json", ".lock", ".db", ".db-wal")
"""Files of the index of `search.store.embedded` that are changed in place."""
_MAPPED = ".db-shm"  # which SQLite makes from the others
_ROWS = (".parquet", ".arrow")
_INDEXES = (".idx", ".sidx")
"""Of earlier versions; `search.store.milvus.setup` drops them, unread."""
_OF_PROCESSES = (_LOCK, _HOLDER, "server.json", "server.lock", "up.lock")


def is_read_only(folder: Path) -> bool:
    """Whether a folder holds a store that this process may not write to."""
    lock = folder / _LOCK
    return os.path.lexists(lock) and not (os.access(folder, os.W_OK) and os.access(lock, os.W_OK))


class Mirror:
    """The temporary ``folder``, for as long as the store is open.

    ``store`` may not be written to; files of the ``index`` in it are linked, except those that are
    changed in place. Many may read this way at once, but nobody may write meanwhile.
    """

    def __init__(self, store: Path, index: str) -> None:
        self.store = store
        self.folder = Path(mkdtemp(prefix="anymodal-store-"))
        self._lock = -1
        try:
            self._lock = _held(store)
            _fill(self.folder, store, index)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise unreadable(store, error) from error
            raise

    def close(self) -> None:
        """Remove the folder and let others write."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def unreadable(store: Path, error: OSError) -> StoreError:
    """The error for a store that this user may not read."""
    return StoreError(
        f"The store {store} cannot be read: {error.strerror}.",
        remedy="Let this user read it, or choose another --store.",
    )


def _held(store: Path) -> int:
    """The store's lock, shared with other readers."""
    lock = os.open(store / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreBusyError(
            f"The store {store} is being written by another process.",
            remedy="Wait until it ends; or have its user run `anymodal up`, which shares it.",
        ) from error
    return lock


def _fill(mirror: Path, store: Path, index: str) -> None:
    (mirror / _LOCK).touch()
    for parent, folders, files in os.walk(store, onerror=_raise):
        inner = Path(parent).relative_to(store)
        target = mirror / inner
        for name in folders:
            (target / name).mkdir()
        for name in files:
            source, suffix = Path(parent, name), Path(name).suffix
            if name in _OF_PROCESSES or suffix in (*_INDEXES, _MAPPED):
                continue
            is_linked = suffix not in _CHANGED if inner.parts[:1] == (index,) else suffix in _ROWS
            if is_linked:
                (target / name).symlink_to(source)
            else:
                shutil.copyfile(source, target / name)


def _raise(error: OSError) -> None:
    raise error
