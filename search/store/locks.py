"""The locks of all who change a store, across threads and processes.

All that writes what depends on what is stored does so in a block of `exclusive`: read, compare,
write. Decoding and encoding stay outside. Readers take no lock.

An asset or a URI has one of `N_STRIPES` locks, by its hash. They are taken in order, so that two
who wait never wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING, TypeAlias

from encoder.system.disk import writing
from encoder.system.private import private_folder
from search.errors import StoreBusyError, StoreError, StoreGoneError

if TYPE_CHECKING:
    from search.store.base import VectorStore
    from search.types import AssetRow

N_STRIPES = 64
PATIENCE_S = 300.0
"""Longer than any block takes."""
_OWNER = "owner"
_PAUSES_S = (0.001, 0.01)

Take: TypeAlias = Callable[[Sequence[int]], AbstractContextManager[object]]
_here = local()


@dataclass(frozen=True)
class WriteLocks:
    """The locks of one store. Safe to use from threads; a thread may nest its blocks.

    Args:
        name: equal for all who share the locks.
        take: holds stripes, in ascending order, until its block ends.
        owner: names those who share the locks, to those who do not.
        check: called in every block; raises if others, who share no locks, write to the store.
    """

    name: str
    take: Take
    owner: Callable[[], str] = str
    check: Callable[[], object] = bool

    def of(self, names: Iterable[str]) -> AbstractContextManager[None]:
        """Hold assets and URIs alone; `exclusive` also reads what is at the URIs."""
        return self._hold({stripe_of(name) for name in names})

    def whole(self) -> AbstractContextManager[None]:
        """Hold everything alone, as to switch to another model."""
        return self._hold(set(range(N_STRIPES)))

    @contextmanager
    def _hold(self, stripes: set[int]) -> Iterator[None]:
        own_stripes: dict[str, set[int]] = _here.__dict__
        if outer := own_stripes.get(self.name):
            if stripes <= outer:
                yield
                return
            # Waiting for more while holding some could wait for one who waits for these.
            raise StoreError("A lock of the store was requested inside the lock of other assets.")
        with self.take(sorted(stripes)):
            own_stripes[self.name] = stripes
            try:
                self.check()
                yield
            finally:
                del own_stripes[self.name]


@contextmanager
def exclusive(
    store: VectorStore, asset_ids: Iterable[str], uris: Sequence[str] = ()
) -> Iterator[Mapping[str, list[AssetRow]]]:
    """A block in which nobody else changes these assets, nor what is stored at these URIs.

    What is read in the block is current.

    Yields:
        The rows at each of the URIs; the block holds their assets as well.

    Raises:
        StoreBusyError: another holds one for longer than any block takes.
    """
    names = {*asset_ids, *uris}
    while True:
        names |= _ids_of(store.assets_at(uris))
        with store.locks.of(names):
            store.catch_up()
            rows = store.assets_at(uris)
            if _ids_of(rows) <= names:
                yield rows
                return


def _ids_of(at_uris: Mapping[str, Sequence[AssetRow]]) -> set[str]:
    return {row.asset_id for rows in at_uris.values() for row in rows}


def stripe_of(name: str) -> int:
    """The lock of an asset's id or of a URI.

    >>> 0 <= stripe_of("/photos/a.jpg") < N_STRIPES
    True
    """
    return sha256(name.encode(errors="surrogatepass")).digest()[0] % N_STRIPES


def thread_locks() -> WriteLocks:
    """The locks of a store that one process has."""
    locks = [Lock() for _ in range(N_STRIPES)]

    @contextmanager
    def take(stripes: Sequence[int]) -> Iterator[None]:
        with ExitStack() as stack:
            for stripe in stripes:
                stack.enter_context(locks[stripe])
            yield

    return WriteLocks(f"memory {id(locks)}", take)


def folder_locks(store: Path) -> WriteLocks:
    """The locks of a store in a folder, as files in it."""

    def make(folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            raise StoreGoneError.at(str(store)) from None

    folder = store / "locks"
    return WriteLocks(str(folder.resolve()), partial(_files, folder, f"The store {store}", make))


def machine_locks(folder: Path) -> WriteLocks:
    """The locks of all who share a folder of this machine, for a store elsewhere."""
    take = partial(_files, folder, str(folder), private_folder)
    return WriteLocks(str(folder.resolve()), take, partial(_owner_in, folder))


@contextmanager
def _files(
    folder: Path, store_name: str, make: Callable[[Path], object], stripes: Sequence[int]
) -> Iterator[None]:
    """Hold files by ``flock``, which ends with the process and excludes threads as well."""
    deadline_s = time.monotonic() + PATIENCE_S
    files: list[int] = []
    try:
        with writing(store_name):
            make(folder)
            for stripe in stripes:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                files.append(os.open(folder / f"{stripe:02d}", flags, 0o600))
                lock_file(files[-1], store_name, deadline_s)
        yield
    finally:
        for file in files:
            fcntl.flock(file, fcntl.LOCK_UN)  # also for a forked child, which has it open
            os.close(file)


def lock_file(file: int, store_name: str, deadline_s: float | None = None) -> None:
    """Lock an open file, by then or within `PATIENCE_S`: who holds it may be stuck.

    Raises:
        StoreBusyError: others have held it for so long.
    """
    deadline_s = time.monotonic() + PATIENCE_S if deadline_s is None else deadline_s
    pause_s, longest_s = _PAUSES_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > deadline_s:
            raise locked_too_long(store_name)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)


def lock_in_turn(turn: int, file: int, store_name: str) -> None:
    """Lock an open file after those who already wait for it.

    Without a turn, who unlocks and locks again in a loop is always before one who waits.

    Args:
        turn: a descriptor of another file, the same one for all; it is locked while waiting.
        file: the descriptor to lock.
        store_name: named by the error.

    Raises:
        StoreBusyError: as `lock_file`.
    """
    lock_file(turn, store_name)
    try:
        lock_file(file, store_name)
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)


def locked_too_long(store_name: str) -> StoreBusyError:
    """The error of one who has waited for `PATIENCE_S`."""
    return StoreBusyError(
        f"{store_name} has been locked by another process for {PATIENCE_S:.0f} s.",
        remedy="Wait for its other commands to end, or end one that hangs; then try again.",
    )


def _owner_in(folder: Path) -> str:
    """A name that nobody else has, made once."""
    path = folder / _OWNER
    with suppress(FileNotFoundError):
        return path.read_text()
    new = private_folder(folder) / f"{_OWNER}.{uuid.uuid4().hex}"
    new.write_text(uuid.uuid4().hex)
    with suppress(FileExistsError):  # another process was first
        os.link(new, path)
    new.unlink()
    return path.read_text()
