"""Who writes to a store on a server, noted in the store: all who do share their locks.

A server of Milvus has no locks. Processes of one user on one machine share files, and workers share
a broker (`search.store.locks`). Others would undo their changes, so they are refused until nobody
has written for `LEASE_S`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from threading import Lock

from search.errors import StoreBusyError
from search.store.milvus.link import MilvusLink

LEASE_S = 60.0
_RENEWED_S = 15.0
_SETTLE_S = 0.5
"""Longer than from reading the note to writing it, so that of two new writers one sees the other's.
"""
_PROPERTY = "anymodal.writer"


class Writers:
    """The note of who writes. Safe to use from threads.

    Args:
        link: the connection.
        collection: in whose properties the note is.
        owner: see `search.store.locks.WriteLocks`.
    """

    def __init__(self, link: MilvusLink, collection: str, owner: Callable[[], str]) -> None:
        self._link = link
        self._collection = collection
        self._owner = owner
        self._lock = Lock()
        self._renewed_s = -LEASE_S

    def check(self) -> None:
        """Note that this process writes; cheap if it did so a moment ago.

        Raises:
            StoreBusyError: others write, who do not share its locks.
        """
        with self._lock:
            if time.monotonic() < self._renewed_s + _RENEWED_S:
                return
            owner, begun_s = self._owner(), time.monotonic()
            is_new = self._noted(owner) != owner
            self._write(owner)
            if is_new:
                time.sleep(_SETTLE_S)
                self._noted(owner)
            self._renewed_s = begun_s

    def _noted(self, owner: str) -> str:
        """Who is noted as the writer; empty if nobody wrote lately.

        Raises:
            StoreBusyError: it is another.
        """
        facts = self._link.call("describe_collection", self._collection)["properties"]
        note = json.loads(facts.get(_PROPERTY, "{}"))
        if note.get("until_s", 0) < self._link.now_s():
            return ""
        if note["owner"] != owner:
            raise StoreBusyError(
                f"The store {self._link.shown} is being written by processes on {note['host']} "
                "that share neither a broker nor the files of this user with this one.",
                remedy="Give all of them the same broker, by --broker or "
                "ANYMODAL_BROKER=redis://HOST:6379/0; or stop the others and try again "
                f"{LEASE_S:.0f} s later.",
            )
        return owner

    def _write(self, owner: str) -> None:
        note = {
            "owner": owner,
            "host": socket.gethostname(),
            "until_s": self._link.now_s() + LEASE_S,
        }
        properties = {_PROPERTY: json.dumps(note)}
        self._link.call("alter_collection_properties", self._collection, properties=properties)
