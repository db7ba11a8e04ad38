"""Browser sessions: random tokens instead of keys, kept as hashes in a file."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from search.api.access.private_file import PrivateFile

_MOST_PER_KEY = 100


class Sessions:
    """The sessions of `POST /v1/session`. Safe to use from threads, and by several processes.

    A token is random and looked up on each use, so it stops working as soon as it is closed or
    expires, or its key is revoked.

    Args:
        path: the file, shared by all processes of a service.
        lasts_s: how long a session lasts.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, lasts_s: float, clock: Callable[[], float] = time.time) -> None:
        self._file = PrivateFile(path)
        self._lasts_s, self._clock = lasts_s, clock
        self._lock = Lock()
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, tuple[str, float]] = {}

    def open(self, key_id: str, instead_of: str = "") -> str:
        """Create a token for a key; it replaces ``instead_of``, if given.

        Beyond a hundred sessions per key, the oldest is closed.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        closed = _digest(instead_of)
        with self._file.changing() as records:
            living = [r for r in records if r["ends"] > now and r["digest"] != closed]
            of_key = [r for r in living if r["key_id"] == key_id]
            surplus = of_key[: max(0, len(of_key) + 1 - _MOST_PER_KEY)]
            new = {"digest": _digest(token), "key_id": key_id, "ends": now + self._lasts_s}
            records[:] = [*(r for r in living if r not in surplus), new]
        return token

    def close(self, token: str) -> None:
        """Close a token; an unknown one is not an error."""
        if self.key_id(token) is None:
            return
        with self._file.changing() as records:
            records[:] = [r for r in records if r["digest"] != _digest(token)]

    def key_id(self, token: str) -> str | None:
        """The key of a token; None if it is not valid.

        Looked up by its hash, so that the time taken reveals nothing about the token.
        """
        with self._lock:
            stamp = self._file.stamp()
            if stamp != self._stamp:
                records = self._file.read()
                self._known = {r["digest"]: (r["key_id"], r["ends"]) for r in records}
                self._stamp = stamp
            key_id, ends = self._known.get(_digest(token), (None, 0.0))
        return key_id if ends > self._clock() else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
