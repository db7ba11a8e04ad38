"""Which of a store's spaces is searched. One write changes it, together with its model.

A store that was never re-encoded has no record: its only space is searched. On a server the record
is an alias of Milvus, ``<prefix>_current``, whose collection names space and model in its
properties. In a folder it is the file ``current.json``, which can be read while another process
holds the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from encoder.errors import DiskError
from encoder.system.disk import disk_error
from search.errors import StoreError, StoreMovedError
from search.store.milvus.link import MilvusLink
from search.store.schema import collection_name

_FILE = "current.json"
_PROPERTY = "anymodal.current"


@dataclass(frozen=True)
class Current:
    """A space and what makes its embeddings.

    Args:
        space: its fingerprint.
        encoder: fields of `encoder.config.EncoderConfig` by which queries are encoded.
        former: the space that was searched before, if it is still stored.
    """

    space: str
    encoder: Mapping[str, Any] = field(default_factory=dict)
    former: Current | None = None

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Current:
        """From `written`."""
        facts = json.loads(text)
        former = facts["former"]
        return cls(facts["space"], facts["encoder"], cls(**former) if former else None)

    @property
    def models(self) -> list[str]:
        """The model, and the former one."""
        return [one.encoder["model"] for one in (self, self.former) if one and one.encoder]


class SpaceRecord(Protocol):
    """Where a store keeps its `Current`."""

    def read(self) -> Current | None:
        """None for a store that was never re-encoded. Cheap."""
        ...

    def write(self, current: Current) -> None:
        """Make all processes search this space, whose collections exist."""
        ...


class FolderRecord:
    """The record in a store's folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE

    def read(self) -> Current | None:
        """See `SpaceRecord.read`."""
        try:
            return Current.read(self._file.read_text())
        except FileNotFoundError:
            return None

    def write(self, current: Current) -> None:
        """See `SpaceRecord.write`; a reader sees the former file, or the new one."""
        part = self._file.with_suffix(".part")
        try:
            with part.open("w") as file:
                file.write(current.written())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._file)
        except OSError as error:
            known = disk_error(error, f"The store {self._file.parent}")
            said = f"{self._file} cannot be written: {error.strerror}."
            raise known or DiskError(said, "Let this user write there.") from error


class ServerRecord:
    """The record on a Milvus server."""

    def __init__(self, link: MilvusLink, prefix: str) -> None:
        self._link, self._prefix = link, prefix
        self._alias = f"{prefix}_current"

    def read(self) -> Current | None:
        """See `SpaceRecord.read`."""
        if not self._link.call("has_collection", self._alias):
            return None
        found = self._link.call("describe_collection", self._alias)["properties"]
        return Current.read(found[_PROPERTY])

    def write(self, current: Current) -> None:
        """See `SpaceRecord.write`."""
        name = collection_name(self._prefix, current.space, "assets")
        facts = {_PROPERTY: current.written()}
        self._link.call("alter_collection_properties", name, properties=facts)
        known = self._link.call("has_collection", self._alias)
        self._link.call("alter_alias" if known else "create_alias", name, self._alias)


class NoRecord:
    """For a store in memory, which has one space."""

    def read(self) -> Current | None:
        """None."""
        return None

    def write(self, current: Current) -> None:
        """Raise `StoreError`."""
        raise StoreError(f"A store in memory cannot hold a second space ({current.space}).")


def check_current(record: SpaceRecord, space: str, shown: str) -> None:
    """Raise if a write would be lost because nobody searches this space any more.

    Raises:
        StoreMovedError: a different space is searched.
    """
    current = record.read()
    if current and current.space != space:
        raise StoreMovedError(
            f"The store {shown} was moved to another model and is now searched in its space.",
            remedy="Try again: servers and workers follow within seconds.",
        )
