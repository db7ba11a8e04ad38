"""API keys, shown once when created, and browser sessions: both kept as hashes in a file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from filelock import FileLock

from encoder.errors import InputError
from encoder.system.private import private_folder, private_opener
from search.filters import Filter, parse_filter

T = TypeVar("T")


class PrivateFile(Generic[T]):
    """Records that only their owner can read, shared by the processes of a service.

    Safe to use from threads; changed by one process at a time, and written atomically.

    Args:
        path: a JSON file, created with the first change.
        parse: makes what `latest` returns of the records.
    """

    def __init__(self, path: Path, parse: Callable[[list[dict[str, Any]]], T]) -> None:
        self.path = path
        self._parse = parse
        self._lock = Lock()
        self._stamp: tuple[int, int] | None = None
        self._latest = parse([])

    def latest(self) -> T:
        """The records, read again after each change."""
        with self._lock:
            try:
                facts = self.path.stat()
                stamp = (facts.st_mtime_ns, facts.st_ino)
            except FileNotFoundError:
                stamp = None
            if stamp != self._stamp:
                self._latest, self._stamp = self._parse(self._read()), stamp
            return self._latest

    def _read(self) -> list[dict[str, Any]]:
        try:
            records: list[dict[str, Any]] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise InputError(
                str(self.path),
                got="a file that is not JSON",
                wanted="the file as anymodal wrote it",
            ) from error
        return records

    @contextmanager
    def changing(self) -> Iterator[list[dict[str, Any]]]:
        """Its records, to change in place; written at the end of the block, unless it raises."""
        private_folder(self.path.parent)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            records = self._read()
            yield records
            partial = self.path.with_suffix(f".{os.getpid()}")
            with open(partial, "w", opener=private_opener) as file:
                json.dump(records, file, indent=1)
            partial.replace(self.path)


SCOPES = ("read", "write", "admin")
"""read: search and view; write: upload and delete; admin: everything, and paths of the server."""

_PREFIX = "am"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored.

    ``digest`` is the SHA-256 of a secret of 256 random bits. No list of likely passwords contains
    such a secret, so no slow hash is needed. ``filter`` says, in plain values of the language of
    filters, what its bearer sees and changes; None for everything.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    per_minute: int
    created: float
    digest: str
    revoked: float | None = None
    filter: Mapping[str, Any] | None = None

    @cached_property
    def within(self) -> Filter | None:
        """``filter``, parsed."""
        return None if self.filter is None else parse_filter(self.filter, "the key's filter")

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
        self._file = PrivateFile(path, _keys)

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        per_minute: int,
        filter: Mapping[str, Any] | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key; return it and the token for the client, which is not stored.

        Raises:
            InputError: there is no such scope, or it is not a filter.
        """
        for scope in scopes:
            if scope not in SCOPES:
                raise InputError("scope", got=repr(scope), wanted=", ".join(SCOPES))
        key_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        digest, now = _digest(secret), time.time()
        key = ApiKey(key_id, name, tuple(scopes), per_minute, now, digest, filter=filter)
        _ = key.within
        with self._file.changing() as records:
            records.append(asdict(key))
        return key, f"{_PREFIX}_{key_id}_{secret}"

    def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key, effective from its next request."""
        with self._changing(key_id) as record:
            record["revoked"] = record.get("revoked") or time.time()
        return _keys([record])[key_id]

    def restrict(self, key_id: str, filter: Mapping[str, Any] | None) -> ApiKey:
        """Give a key another filter, or none, effective from its next request."""
        with self._changing(key_id) as record:
            record["filter"] = filter
            key = _keys([record])[key_id]
            _ = key.within
        return key

    @contextmanager
    def _changing(self, key_id: str) -> Iterator[dict[str, Any]]:
        with self._file.changing() as records:
            for record in records:
                if record["key_id"] == key_id:
                    yield record
                    return
            raise InputError("ID", got=repr(key_id), wanted="one of `anymodal keys list`")

    def all(self) -> list[ApiKey]:
        """All keys, revoked ones included."""
        return list(self._file.latest().values())

    def find(self, token: str) -> ApiKey | None:
        """The key of a token; None if it is wrong or revoked. Compares in constant time."""
        prefix, _, secret = token.partition("_")
        key_id, _, secret = secret.partition("_")
        key = self._file.latest().get(key_id)
        expected = key.digest if key else _digest("")
        is_right = hmac.compare_digest(_digest(secret), expected) and prefix == _PREFIX
        return key if key and is_right and key.revoked is None else None

    def get(self, key_id: str) -> ApiKey | None:
        """A key by its id, unless it was revoked."""
        key = self._file.latest().get(key_id)
        return key if key and key.revoked is None else None


def _keys(records: Iterable[Mapping[str, Any]]) -> dict[str, ApiKey]:
    keys = [ApiKey(**{**facts, "scopes": tuple(facts["scopes"])}) for facts in records]
    return {key.key_id: key for key in keys}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


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
        self._file = PrivateFile(path, _sessions)
        self._lasts_s, self._clock = lasts_s, clock

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
        key_id, ends = self._file.latest().get(_digest(token), (None, 0.0))
        return key_id if ends > self._clock() else None


def _sessions(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, float]]:
    return {record["digest"]: (record["key_id"], record["ends"]) for record in records}
