"""Which of a store's lanes are searched. One write changes them, together with the model.

Whoever makes a store makes the record, and a move to another model names the spaces that it fills
before that has any rows; lanes that are filling are not searched. On a server the record is an
alias of Milvus, ``<prefix>_current``, whose collection names spaces and model in its properties. In
a folder it is the file ``current.json``, which is read without opening a database.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from encoder.errors import DiskError
from encoder.system.disk import disk_error
from encoder.system.private import private_folder
from encoder.types import Modality
from search.errors import SpaceMismatchError, StoreError, StoreMovedError
from search.store.folder.read_only import unreadable
from search.store.folders import CONTENT, DATABASE, RECORD, check_place
from search.store.lanes import StoredSpace, StoreLanes

_FORMAT = 2
"""Later versions of the record are refused."""


@dataclass(frozen=True)
class SearchedSpace:
    """A space and what makes its embeddings.

    Args:
        space: its fingerprint.
        encoder: fields of `encoder.config.EncoderConfig` by which queries are encoded; empty if
            no write was recorded yet.
        former: the space that was searched before, if it is still stored.
        filling: the spaces that a move fills, or an interrupted one began to, with blanks between;
            empty if there are none.
        lanes: the spaces of the modalities that live in one of their own, by name.
    """

    space: str
    encoder: Mapping[str, Any] = field(default_factory=dict)
    former: SearchedSpace | None = None
    filling: str = ""
    lanes: Mapping[str, str] = field(default_factory=dict)

    def written(self) -> str:
        return json.dumps({"format": _FORMAT, **asdict(self)})

    @classmethod
    def read(cls, text: str) -> SearchedSpace:
        """Read what `written` wrote.

        Raises:
            StoreError: a later version of anymodal did.
            ValueError, KeyError, TypeError: it is something else.
        """
        facts = json.loads(text)
        if (version := facts.pop("format", 1)) > _FORMAT:
            raise StoreError(
                f"The store's record has format {version}, which a later version of anymodal "
                f"wrote; this one reads up to {_FORMAT}.",
                remedy="Open it with that version.",
            )
        former = facts.pop("former")
        return cls(**facts, former=cls(**former) if former else None)

    @property
    def spaces(self) -> frozenset[str]:
        """All spaces that are searched: the home lane's and those of others."""
        return frozenset({self.space, *self.lanes.values()})

    def is_like(self, other: SearchedSpace) -> bool:
        """Whether the same spaces are searched for the same modalities."""
        return (self.space, self.lanes) == (other.space, other.lanes)

    @property
    def models(self) -> list[str]:
        """The model, and the former one."""
        return [space.encoder["model"] for space in (self, self.former) if space and space.encoder]


def searched_in(lanes: StoreLanes, encoder: Mapping[str, Any]) -> SearchedSpace:
    """The record of a store that is searched in these lanes."""
    other_lanes = {str(modality): space.fingerprint for modality, space in lanes.others.items()}
    return SearchedSpace(lanes.home.fingerprint, encoder, lanes=other_lanes)


def lanes_of(current: SearchedSpace) -> StoreLanes:
    """The lanes that a record names, as large as the store notes them."""
    other_lanes = {Modality(name): StoredSpace(space, 0) for name, space in current.lanes.items()}
    return StoreLanes(StoredSpace(current.space, 0), other_lanes)


class SpaceRecord(Protocol):
    """Where a store keeps its `SearchedSpace`."""

    def read(self) -> SearchedSpace | None:
        """None where there is no store. Cheap."""

    def write(self, current: SearchedSpace) -> None:
        """Make all processes search these lanes."""


class FolderRecord:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / RECORD

    def make(self, current: SearchedSpace) -> None:
        """Begin a new store, whose database comes after this.

        Raises:
            StoreError: there is one, which has lost its record, or others' files.
        """
        check_place(self._folder)
        if (self._folder / CONTENT / DATABASE).exists():
            raise self._unknown("is missing")
        private_folder(self._folder)
        self.write(current)

    def _unknown(self, problem: str) -> StoreError:
        return StoreError(
            f"{self._file} {problem}, which says which model the store is searched with.",
            remedy="Restore it from a backup.",
        )

    def read(self) -> SearchedSpace | None:
        """See `SpaceRecord.read`.

        Raises:
            StoreError: the file is damaged, or closed to this user.
        """
        try:
            return SearchedSpace.read(self._file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise unreadable(self._file.parent, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise self._unknown("is damaged") from error

    def write(self, current: SearchedSpace) -> None:
        """A reader sees the former file, or the new one."""
        new_file = self._file.with_suffix(f".{uuid4().hex}")  # others may write the first one, too
        try:
            with new_file.open("w") as file:
                file.write(current.written())
                file.flush()
                os.fsync(file.fileno())
            new_file.replace(self._file)
        except OSError as error:
            refusal = disk_error(error, f"The store {self._file.parent}")
            problem = f"{self._file} cannot be written: {error.strerror}."
            raise refusal or DiskError(problem, "Let this user write there.") from error


class NoRecord:
    """For a store in memory, which has no other lanes."""

    def read(self) -> SearchedSpace | None:
        return None

    def write(self, current: SearchedSpace) -> None:
        raise StoreError(f"A store in memory cannot hold a second space ({current.space}).")


def check_searched(record: SpaceRecord, expected: SearchedSpace, store_name: str) -> bool:
    """Whether there is a store, in which these lanes are searched or were before.

    Raises:
        SpaceMismatchError: others are; what there is in these would be searched as if it was whole.
    """
    current = record.read()
    if current is None:
        return False
    records = [k for k in (current, current.former) if k]
    if any(k.is_like(expected) for k in records):
        return True
    if alike := [k for k in records if k.space == expected.space]:
        raise SpaceMismatchError(
            f"The store {store_name} has {_named(alike[0].lanes)}, but this encoder has "
            f"{_named(expected.lanes)}.",
            remedy="Leave out --model, or move the store with `anymodal store reindex`.",
        )
    if expected.space in current.filling.split():
        raise SpaceMismatchError(
            f"The store {store_name} is searched in the space {current.space}; what it holds in "
            f"the space {expected.space} is unfinished.",
            remedy="Leave out --model, or finish the move with `anymodal store reindex`.",
        )
    from encoder.models.bundle.model import describe

    searched = ", ".join(map(describe, [current.space, *current.lanes.values()]))
    raise SpaceMismatchError(
        f"The store {store_name} holds embeddings in the space {searched}, but this encoder's are "
        f"in the space {describe(expected.space)}: they cannot be compared.",
        remedy="Use the model and settings that the store was made with (--model), ingest the "
        "content again into another --store, or move this one with `anymodal store reindex`.",
    )


def _named(lanes: Mapping[str, str]) -> str:
    names = ", ".join(f"{modality} in the space {space}" for modality, space in lanes.items())
    return names or "one space for all modalities"


def check_current(record: SpaceRecord, expected: SearchedSpace, store_name: str) -> None:
    """Raise a `StoreMovedError` if these lanes are searched no more."""
    current = record.read()
    if current and not current.is_like(expected):
        raise StoreMovedError(
            f"The store {store_name} was moved to another model and is now searched in its space.",
            remedy="Try again: servers and workers follow within seconds.",
        )
