"""What a store on a server notes in properties: who writes to it, and which space is searched.

A server of Milvus has no locks. Processes of one user on one machine share files, and workers share
a broker (`search.store.locks`). Others would undo their changes, so they are refused until nobody
has written for `LEASE_S`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

from search.errors import StoreBusyError, StoreError
from search.store.milvus.link import MilvusLink
from search.store.schema import ASSETS, collection_name, spaces_among, written_space
from search.store.space_record import SearchedSpace

LEASE_S = 60.0
_RENEWED_S = 15.0
_SETTLE_S = 0.5
"""Longer than from reading the note to writing it, so that of two new writers one sees the other's.
"""
_WRITER = "anymodal.writer"
_CURRENT = "anymodal.current"


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
        note = json.loads(facts.get(_WRITER, "{}"))
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
        properties = {_WRITER: json.dumps(note)}
        self._link.call("alter_collection_properties", self._collection, properties=properties)


class ServerRecord:
    """The record on a Milvus server."""

    def __init__(self, link: MilvusLink, prefix: str) -> None:
        self._link, self._prefix = link, prefix
        self._alias = f"{prefix}_current"

    def read(self) -> SearchedSpace | None:
        """See `SpaceRecord.read`."""
        if not self._link.call("has_collection", self._alias):
            return None
        facts = self._link.call("describe_collection", self._alias)["properties"]
        if _CURRENT in facts:
            return SearchedSpace.read(facts[_CURRENT])
        # Milvus 2.3 forgets changed properties when it is restarted, but neither aliases nor what
        # a collection was made with: its model is known by its space then, or named by the user.
        return SearchedSpace(written_space(facts))

    def spaces(self) -> list[str]:
        """See `SpaceRecord.spaces`."""
        spaces = spaces_among(self._link.call("list_collections"), self._prefix)
        if len(spaces) < 2:
            return spaces
        names = {space: collection_name(self._prefix, space, ASSETS.kind) for space in spaces}
        created = {
            space: self._link.call("describe_collection", name).get("created_timestamp", 0)
            for space, name in names.items()
            if self._link.call("has_collection", name)
        }
        return sorted(created, key=lambda space: created[space])

    def write(self, current: SearchedSpace) -> None:
        """See `SpaceRecord.write`."""
        name = collection_name(self._prefix, current.space, ASSETS.kind)
        facts = {_CURRENT: current.written()}
        self._link.call("alter_collection_properties", name, properties=facts)
        if not self._link.call("has_collection", self._alias):
            with suppress(StoreError):  # somebody was first, or dropped the collection by hand
                self._link.call("create_alias", name, self._alias)
                return
        self._link.call("alter_alias", name, self._alias)
