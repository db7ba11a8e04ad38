"""Open in Milvus Lite a store that may be read but not written to.

Lite writes a lock, a log and folders when it opens a store, so it cannot open a folder without
write permission. It gets a temporary one instead: new folders, links to the files with rows, copies
of the small files. The store itself stays untouched.
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
_ROWS = (".parquet", ".arrow")
_INDEXES = (".idx", ".sidx")
"""Of earlier versions; `search.store.milvus.setup` drops them, unread."""
_SIDE = "side"
"""The index of `search.store.embedded`, which Lite does not know."""
_OF_PROCESSES = (_LOCK, _HOLDER, "server.json", "server.lock", "up.lock")


def is_read_only(folder: Path) -> bool:
    """Whether a folder holds a store that this process may not write to."""
    lock = folder / _LOCK
    return os.path.lexists(lock) and not (os.access(folder, os.W_OK) and os.access(lock, os.W_OK))


class Mirror:
    """The temporary folder, for as long as the store is open. ``folder`` is where it is.

    Many may read this way at once, but nobody may write meanwhile, as with any embedded store.

    Raises:
        StoreBusyError: another process writes to the store.
        StoreError: it may not be read either.
    """

    def __init__(self, store: Path) -> None:
        self.folder = Path(mkdtemp(prefix="anymodal-store-"))
        self._lock = -1
        try:
            self._lock = _held(store)
            _fill(self.folder, store)
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


def _fill(mirror: Path, store: Path) -> None:
    (mirror / _LOCK).touch()
    for place, folders, files in os.walk(store, onerror=_raise):
        here = mirror / Path(place).relative_to(store)
        if here == mirror and _SIDE in folders:
            folders.remove(_SIDE)
        for name in folders:
            (here / name).mkdir()
        for name in files:
            source = Path(place, name)
            if name.endswith(_ROWS):
                (here / name).symlink_to(source)
            elif name not in _OF_PROCESSES and not name.endswith(_INDEXES):
                shutil.copyfile(source, here / name)


def _raise(error: OSError) -> None:
    raise error
