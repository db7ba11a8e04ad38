"""Cached thumbnails: in memory, and in two sizes on disk."""

from __future__ import annotations

import logging
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Lock

from encoder.system.private import private_folder, private_opener
from encoder.system.stopping import stopped_by
from search.query.byte_cache import ByteCache

SIZES = (480, 1024)
"""The longer sides, in pixels, of the sizes kept on disk: a tile and a large preview."""
_MOST_FILES = 64
"""Per asset, so that asking for every frame of a film does not fill the disk."""
_ID = re.compile(r"[0-9a-f]{32}")

Key = tuple[str, float, int, int]
"""Asset, second, page and size."""

Stored = Callable[[Sequence[str]], Collection[str]]
"""Given asset ids, returns those that are stored."""

logger = logging.getLogger(__name__)


class Thumbnails:
    """Thumbnails by asset, second, page and size. Safe to use from threads and processes.

    Args:
        folder: created when needed; files are ``<two digits>/<asset id>/<what>.webp``.
        max_bytes: the most memory for the most recently used ones.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._recent: ByteCache[bytes] = ByteCache(max_bytes, len)
        self._making: dict[Key, Future[bytes]] = {}
        self._lock = Lock()

    def get(
        self, asset_id: str, at_s: float, page: int, size: int, make: Callable[[], bytes]
    ) -> bytes:
        """A WebP, made now if it is not cached. A disk that cannot be written to costs only time.

        A request for a thumbnail that is being made waits for it. A page that draws its cards again
        sends a second request while the first one runs.
        """
        key = (asset_id, at_s, page, size)
        if size not in SIZES or not _ID.fullmatch(asset_id):
            return self._made_once(key, lambda: self._recent.get(key, make))
        file = self._home(asset_id) / f"{at_s:.3f}-{page}-{size}.webp"
        return self._made_once(key, lambda: self._on_disk(file, make))

    def _made_once(self, key: Key, make: Callable[[], bytes]) -> bytes:
        """Run ``make``, which looks for a cached one, in one thread per key; others wait for it."""
        with self._lock:
            making = self._making.get(key)
            mine = self._making.setdefault(key, Future())
        if making:
            return making.result()
        try:
            with stopped_by(None):  # others wait for it, even if who asked first has left
                mine.set_result(make())
        except BaseException as error:  # noqa: BLE001 - raised below, to all who wait
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._making[key]
        return mine.result()

    def _on_disk(self, file: Path, make: Callable[[], bytes]) -> bytes:
        try:
            return file.read_bytes()
        except OSError:
            picture = make()
        try:
            _keep(file, picture)
        except OSError as error:
            logger.warning("thumbnails cannot be kept in %s: %s", self.folder, error)
        return picture

    def remove(self, asset_id: str) -> None:
        """Remove an asset's thumbnails from disk."""
        if _ID.fullmatch(asset_id):
            shutil.rmtree(self._home(asset_id), ignore_errors=True)

    def sweep(self, stored: Stored, until: Event) -> None:
        """Remove the thumbnails of assets that are no longer stored, however they were deleted."""
        for subfolder in self.folder.glob("??"):
            if until.is_set():
                return
            ids = [home.name for home in subfolder.iterdir()]
            for asset_id in set(ids).difference(stored(ids)):
                self.remove(asset_id)

    def _home(self, asset_id: str) -> Path:
        return self.folder / asset_id[:2] / asset_id


def _keep(file: Path, data: bytes) -> None:
    """Write a thumbnail atomically, unless the asset has many."""
    private_folder(file.parent)
    if len(list(file.parent.iterdir())) >= _MOST_FILES:
        return
    partial = file.with_name(f".{uuid.uuid4().hex}")
    with open(partial, "wb", opener=private_opener) as output:
        output.write(data)
    partial.replace(file)
