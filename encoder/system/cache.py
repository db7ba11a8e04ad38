"""The one cache of this machine: what was fetched, prepared, fitted or tried, each made once.

    <home>/bundle/<bundle>/<part>     parts of bundles: weights from the package index
    <cache>/models/<name>-<hash>      prepared models
    <cache>/gates/<hash>.npz          gates fitted to models that come without one
    <home>/sparse/…                   networks of bundles with a gate
    <cache>/float32/<hash>            weights in float32, for processes to map
    <cache>/shared/<hash>             networks as ONNX Runtime runs them, for processes to map
    <cache>/pieces/<hash>.sqlite      vocabularies
    <cache>/banks/<hash>.npz          vectors of what chance gives, of models that ship none
    <cache>/trials/<hash>.json        which runtime is the fastest here, and how fast a model is

The name of an entry says all that it depends on, so it is made once and then only read. It appears
whole, in one rename, or not at all; a lock per entry ends when its holder dies.
"""

from __future__ import annotations

import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from encoder.system.environment import variable

try:
    import fcntl
except ImportError:  # not on Windows, where open files cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

SCRATCH = "tmp-"
"""The prefix of what is still being made, or was left by a kill."""
LOCKS = ".locks"

UNUSED_S = 30 * 86400.0
"""What was not opened for this long and can be made again here is removed when its kind grows."""
MOST_BYTES = 20 * 2**30
"""Of one kind of what can be made again here; the longest unused are removed beyond it."""

_DERIVED = ("sparse", "float32", "shared", "pieces", "banks", "trials")
"""Kinds that are made again within seconds when they are needed, to the last byte."""


def cache_home() -> Path:
    """Where models are kept: ``ANYMODAL_HOME``, else ``anymodal`` in the user's cache."""
    if home := variable("ANYMODAL_HOME"):
        return Path(home).expanduser()
    if cache := variable("XDG_CACHE_HOME"):
        return Path(cache) / "anymodal"
    return Path.home() / ".cache" / "anymodal"


def machine_cache() -> Path:
    """Where what this machine found or made is kept: ``ANYMODAL_CACHE``, else `cache_home`."""
    if cache := variable("ANYMODAL_CACHE"):
        return Path(cache).expanduser()
    return cache_home()


def cache_folder(kind: str) -> Path:
    """Where entries of a kind are, such as ``models``; bundles' networks stay with the bundles."""
    return (cache_home() if kind == "sparse" else machine_cache()) / kind


def make_once(
    path: Path,
    write: Callable[[Path], None],
    *,
    is_whole: Callable[[Path], bool] = Path.exists,
    on_wait: Callable[[], None] | None = None,
    timeout_s: float = -1,
) -> Path:
    """Make an entry of the cache unless it is there; one that is not whole is made again.

    Safe to call from several processes at once, where one makes it and the others wait, and to
    kill at any time: the next call removes what was left. ``write`` makes it at another path of the
    same name, whose folder exists; ``on_wait`` is called if another process is making it.

    Raises:
        OSError: the disk is full or may not be written to.
        filelock.Timeout: another process took longer than ``timeout_s``; negative waits for good.
    """
    if is_whole(path):
        mark_used(path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    with _locked(path, on_wait, timeout_s):
        if is_whole(path):  # another process was first
            return path
        scratch = Path(mkdtemp(prefix=f"{SCRATCH}{path.name}.", dir=path.parent))
        try:
            (scratch / "new").mkdir()
            new = scratch / "new" / path.name
            write(new)
            _to_disk(new)
            if path.is_dir():  # damaged; a folder that is not empty cannot be replaced at once
                path.rename(scratch / "old")
            new.replace(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return path


def mark_used(path: Path) -> None:
    """Record that an entry was opened now; a folder that is read-only will do as well."""
    with suppress(OSError):
        os.utime(path)


def remove_entry(path: Path) -> None:
    """Remove an entry in one step, so that no process ever finds part of it."""
    scratch = Path(mkdtemp(prefix=f"{SCRATCH}{path.name}.", dir=path.parent))
    try:
        path.rename(scratch / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, and derived entries that nobody opens."""
    _remove_scratch(folder)
    if folder.name in _DERIVED:
        for entry in _to_prune(_entries_in(folder), UNUSED_S, MOST_BYTES):
            with suppress(FileNotFoundError):  # another process prunes, too
                remove_entry(entry.path)


def _remove_scratch(folder: Path) -> None:
    """Remove what killed processes left in a folder; what is still being made is locked."""
    from filelock import FileLock, Timeout

    for scratch in folder.glob(f"{SCRATCH}*"):
        name = scratch.name.removeprefix(SCRATCH).rpartition(".")[0] or "of-older-versions"
        with suppress(Timeout, OSError), FileLock(folder / LOCKS / name, timeout=0):
            shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class CacheEntry:
    """Something in the cache that can be made again here, and how long ago it was opened."""

    path: Path
    size_bytes: int
    unused_s: float

    @property
    def kind(self) -> str:
        return self.path.parent.name


def cache_entries() -> list[CacheEntry]:
    """All that can be made again here, the longest unused first.

    Bundles and prepared models are listed by `encoder.models.catalogue`. Gates are neither: one
    that is fitted anew may differ, and so would vectors.
    """
    entries = [
        entry for folder_name in _DERIVED for entry in _entries_in(cache_folder(folder_name))
    ]
    return sorted(entries, key=lambda entry: -entry.unused_s)


def prune_cache(unused_s: float = UNUSED_S, most_bytes: int | None = None) -> list[CacheEntry]:
    """Remove what can be made again here, and what killed processes left; return what was removed.

    Processes that have an entry open keep it. Entries that were opened within ``unused_s`` stay,
    unless there are more than ``most_bytes`` in all: then the longest unused go first.
    """
    for folder_name in ("models", "gates", *_DERIVED):
        if cache_folder(folder_name).is_dir():
            _remove_scratch(cache_folder(folder_name))
    removed = _to_prune(cache_entries(), unused_s, most_bytes)
    for entry in removed:
        with suppress(FileNotFoundError):
            remove_entry(entry.path)
    return removed


def hold(folder: Path, holder: object) -> None:
    """Mark a folder as in use for as long as an object lives, or until its process ends.

    Where the file system has no locks, this does nothing.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        weakref.finalize(holder, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def is_in_use(folder: Path) -> bool:
    """Whether any process holds a folder, this one included."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _to_prune(
    entries: Sequence[CacheEntry], unused_s: float, most_bytes: int | None
) -> list[CacheEntry]:
    """Those unused for longer, and the longest unused of the others beyond ``most_bytes``."""
    left_bytes = sum(entry.size_bytes for entry in entries)
    pruned = []
    for entry in sorted(entries, key=lambda entry: -entry.unused_s):
        is_too_much = most_bytes is not None and left_bytes > most_bytes
        if entry.unused_s > unused_s or is_too_much:
            pruned.append(entry)
            left_bytes -= entry.size_bytes
    return pruned


def _entries_in(folder: Path) -> list[CacheEntry]:
    if not folder.is_dir():
        return []
    now_s = time.time()
    entries = []
    for path in folder.iterdir():
        if path.name.startswith((SCRATCH, ".")):
            continue
        with suppress(FileNotFoundError):  # another process prunes, too
            files = [path] if path.is_file() else list(path.rglob("*"))
            size_bytes = sum(file.stat().st_size for file in files)
            entries.append(CacheEntry(path, size_bytes, now_s - path.stat().st_mtime))
    return entries


def _to_disk(path: Path) -> None:
    """Sync all files; otherwise a power cut may leave files of the right size that hold nothing."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            # Windows flushes only files that are open for writing
            with file.open("rb+" if os.name == "nt" else "rb") as opened:
                os.fsync(opened.fileno())


@contextmanager
def _locked(path: Path, on_wait: Callable[[], None] | None, timeout_s: float) -> Iterator[None]:
    """Let in one process at a time; the lock is released when its holder dies."""
    from filelock import FileLock, Timeout

    locks = path.parent / LOCKS
    locks.mkdir(exist_ok=True)
    lock = FileLock(locks / path.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait:
            on_wait()
        lock.acquire(timeout=timeout_s)
    try:
        yield
    finally:
        lock.release()
