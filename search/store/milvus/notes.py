"""What a store on a server notes of itself: who writes to it, and which space is searched.

A server of Milvus has no locks. Processes of one user on one machine share files, and workers share
a broker (`search.store.locks`). Others would undo their changes, so they are refused until nobody
has written for `LEASE_S`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from uuid import uuid4

from search.errors import StoreBusyError, StoreError
from search.store import calibrated
from search.store.calibrated import StoredCalibration
from search.store.milvus.link import MilvusLink
from search.store.milvus.setup import create_collection
from search.store.schema import (
    CALIBRATION,
    LOCATIONS,
    SCHEMA_PROPERTY,
)
from search.store.space_record import SearchedSpace

LEASE_S = 60.0
_RENEWED_S = 15.0
_SETTLE_S = 0.5
"""Longer than from reading the note to writing it, so that of two new writers one sees the other's.
"""
_WRITER = "anymodal.writer"
_CURRENT = "anymodal.current"
_CALIBRATION = "_calibration"


class Writers:
    """The note of who writes, in a collection's properties. Safe to use from threads.

    ``owner`` is that of `search.store.locks.WriteLocks`.
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
            until_s = self._link.now_s() + LEASE_S
            note = {"owner": owner, "host": socket.gethostname(), "until_s": until_s}
            properties = {_WRITER: json.dumps(note)}
            self._link.call("alter_collection_properties", self._collection, properties=properties)
            if is_new:
                time.sleep(_SETTLE_S)
                self._noted(owner)
            self._renewed_s = begun_s

    def _noted(self, owner: str) -> str:
        """Who is noted as the writer, who must be the owner; empty if nobody wrote lately."""
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


class ServerRecord:
    """The `search.store.space_record.SpaceRecord` on a Milvus server."""

    def __init__(self, link: MilvusLink, prefix: str) -> None:
        self._link, self._prefix = link, prefix
        self._alias = f"{prefix}_current"

    def read(self) -> SearchedSpace | None:
        facts = kept_facts(self._link, self._alias)
        return SearchedSpace.read(facts[_CURRENT]) if facts else None

    def write(self, current: SearchedSpace) -> None:
        keep_facts(self._link, self._alias, {_CURRENT: current.written()})


def kept_facts(link: MilvusLink, alias: str) -> dict[str, str]:
    """What `keep_facts` wrote last, or the properties of what is called so; empty if nothing is."""
    if not link.call("has_collection", alias):
        return {}
    return dict(link.call("describe_collection", alias)["properties"])


def keep_facts(link: MilvusLink, alias: str, facts: Mapping[str, str]) -> None:
    """Write facts under a name, all at once: they are what a new, empty collection is made with.

    Milvus 2.3 forgets properties that were changed when it is restarted, but neither these nor an
    alias.
    """
    name, former = f"{alias}_{uuid4().hex[:8]}", ""
    create_collection(link, name, LOCATIONS, {**SCHEMA_PROPERTY, **facts})
    if link.call("has_collection", alias):
        former = link.call("describe_collection", alias)["collection_name"]
    else:
        with suppress(StoreError):  # another was first
            link.call("create_alias", name, alias)
    link.call("alter_alias", name, alias)
    if former.startswith(f"{alias}_"):  # it was made here
        link.call("drop_collection", former)


def noted_calibration(link: MilvusLink, name: str) -> StoredCalibration:
    """That of the space whose segments are in the collection of this name."""
    facts = kept_facts(link, f"{name}{_CALIBRATION}") or kept_facts(link, name)
    return calibrated.read(facts[CALIBRATION])


def note_calibration(link: MilvusLink, name: str, state: StoredCalibration) -> None:
    """Score by these constants from now on."""
    keep_facts(link, f"{name}{_CALIBRATION}", {CALIBRATION: calibrated.written(state)})


def drop_calibration(link: MilvusLink, name: str) -> None:
    """Forget it, before the collection is dropped."""
    alias = f"{name}{_CALIBRATION}"
    if link.call("has_collection", alias):
        collection = link.call("describe_collection", alias)["collection_name"]
        link.call("drop_alias", alias)
        link.call("drop_collection", collection)
