"""Open a store that may be read but not written to.

SQLite and Tantivy write beside their files when they open them. They get a temporary folder
instead: links to files that are never changed in place, copies of the others. The store itself
stays untouched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp

from search.errors import StoreError
from search.store.folders import CONTENT, LOCK, opened

_COPIED = (".json", ".lock", ".db", ".db-wal", ".version")
_SHARED_MEMORY = ".db-shm"  # which SQLite makes from the others


def is_read_only(folder: Path) -> bool:
    """Whether a folder holds a store that this process may not write to."""
    content = folder / CONTENT
    return os.path.lexists(content) and not all(os.access(p, os.W_OK) for p in (folder, content))


class Mirror:
    """The temporary ``folder``, for as long as the store is open: as of when it was made.

    Many may read this way at once; others may write meanwhile.
    """

    def __init__(self, store: Path) -> None:
        self.folder = Path(mkdtemp(prefix="anymodal-store-"))
        try:
            (self.folder / CONTENT).mkdir()
            with opened(store / CONTENT / LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)  # the database and its log belong together
                _fill(self.folder / CONTENT, store / CONTENT)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise unreadable(store, error) from error
            raise

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def unreadable(store: Path, error: OSError) -> StoreError:
    """The error for a store that this user may not read."""
    return StoreError(
        f"The store {store} cannot be read: {error.strerror}.",
        remedy="Let this user read it, or choose another --store.",
    )


def _fill(mirror: Path, content: Path) -> None:
    for parent, folders, files in os.walk(content, onerror=_raise):
        target = mirror / Path(parent).relative_to(content)
        for name in folders:
            (target / name).mkdir()
        for name in files:
            source = Path(parent, name)
            if source.suffix == _SHARED_MEMORY:
                continue
            if source.suffix in _COPIED:
                shutil.copyfile(source, target / name)
            else:
                (target / name).symlink_to(source)


def _raise(error: OSError) -> None:
    raise error
