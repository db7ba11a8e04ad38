"""API keys: shown once when created, stored as hashes in a file."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from encoder.errors import InputError
from search.api.access.private_file import PrivateFile

SCOPES = ("read", "write", "admin")
"""read: search and view; write: upload and delete; admin: everything, and paths of the server."""

_PREFIX = "am"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored.

    ``digest`` is the SHA-256 of a secret of 256 random bits. No list of likely passwords contains
    such a secret, so no slow hash is needed.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    per_minute: int
    created: float
    digest: str
    revoked: float | None = None

    def allows(self, scope: str) -> bool:
        """Whether it includes this scope."""
        return scope in self.scopes or "admin" in self.scopes


class KeyRing:
    """The keys in a file, which is read again when it changes. Safe to use from threads.

    Args:
        path: created with the first key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PrivateFile(path)
        self._lock = Lock()
        self._keys: dict[str, ApiKey] = {}
        self._stamp: tuple[int, int] | None = None

    def create(self, name: str, scopes: Sequence[str], per_minute: int) -> tuple[ApiKey, str]:
        """Create a key; return it and the token for the client, which is not stored.

        Raises:
            InputError: a scope is unknown.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise InputError("scope", got=repr(scope), wanted=", ".join(SCOPES))
        key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        key = ApiKey(key_id, name, tuple(scopes), per_minute, time.time(), _digest(secret))
        with self._written() as keys:
            keys[key_id] = key
        return key, f"{_PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key, effective from its next request.

        Raises:
            InputError: no such key.
        """
        with self._written() as keys:
            if key_id not in keys:
                raise InputError("ID", got=repr(key_id), wanted="one of `anymodal keys list`")
            keys[key_id] = replace(keys[key_id], revoked=keys[key_id].revoked or time.time())
            return keys[key_id]

    def all(self) -> list[ApiKey]:
        """All keys, revoked ones included."""
        with self._lock:
            self._refresh()
            return list(self._keys.values())

    def find(self, token: str) -> ApiKey | None:
        """The key of a token; None if it is wrong or revoked. Compares in constant time."""
        prefix, _, secret = token.partition("_")
        key_id, _, secret = secret.partition("_")
        with self._lock:
            self._refresh()
            key = self._keys.get(key_id)
        expected = key.digest if key else _digest("")
        is_right = hmac.compare_digest(_digest(secret), expected) and prefix == _PREFIX
        return key if key and is_right and key.revoked is None else None

    def get(self, key_id: str) -> ApiKey | None:
        """A key by its id, unless it was revoked."""
        with self._lock:
            self._refresh()
            key = self._keys.get(key_id)
        return key if key and key.revoked is None else None

    def _refresh(self) -> None:
        stamp = self._file.stamp()
        if stamp != self._stamp:
            self._keys, self._stamp = _keys(self._file.read()), stamp

    @contextmanager
    def _written(self) -> Iterator[dict[str, ApiKey]]:
        """Yield the keys to change, then write them."""
        with self._file.changing() as records:
            keys = _keys(records)
            yield keys
            records[:] = [asdict(key) for key in keys.values()]


def _keys(records: Iterable[Mapping[str, Any]]) -> dict[str, ApiKey]:
    keys = [ApiKey(**{**facts, "scopes": tuple(facts["scopes"])}) for facts in records]
    return {key.key_id: key for key in keys}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
