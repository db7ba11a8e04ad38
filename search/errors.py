"""Errors of search and of the store; see `encoder.errors` for the whole tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from encoder.errors import AnymodalError, DiskError

if TYPE_CHECKING:
    from search.types import ScoredSegment


class StoreError(AnymodalError):
    """The vector store cannot do its work."""


class StoreUnavailableError(StoreError):
    """The store does not answer; the same call may succeed later."""

    retryable = True
    failing = "vector store"


class StoreGoneError(StoreError):
    """The files of an open store were removed or moved."""

    @classmethod
    def at(cls, shown: str) -> StoreGoneError:
        """The error for a folder."""
        return cls(
            f"The files of the store {shown} were removed or moved while it was open.",
            remedy="Put them back, or start this program again.",
        )


class StoreBusyError(StoreError):
    """A store, or a lock of it, is held by another process."""


class StoreMissingError(StoreError):
    """There is no store at this place."""

    @classmethod
    def at(cls, shown: str) -> StoreMissingError:
        """The error for a folder or a server's URI."""
        return cls(
            f"There is no store at {shown}.",
            remedy="Check --store and ANYMODAL_STORE; `anymodal ingest PATH` creates a store "
            "there.",
        )


class ReadOnlyStoreError(StoreError, DiskError):
    """A store that can be searched, but not written to."""

    @classmethod
    def at(cls, shown: str) -> ReadOnlyStoreError:
        """The error for a folder that this user may not write to."""
        return cls(
            f"The store {shown} can be searched, but not written to.",
            remedy="Let this user write there, or name another --store.",
        )


class IndexRefusedError(StoreError):
    """A server refuses to build the index that is asked for."""


class SpaceMismatchError(StoreError):
    """The collection belongs to a different embedding space."""


class StoreMovedError(StoreError):
    """The store now uses a different space; a writer that switches to it can write again."""

    retryable = True


class NotFoundError(AnymodalError):
    """A query names an asset that is not stored."""


class OutsideError(AnymodalError):
    """What is to be written lies outside of what its writer may see."""


class IndexNotReadyError(StoreError):
    """An index is still being read, or missing; a search goes on without it and says so.

    ``hits`` is what it found before its last changes, if it was read before.
    """

    retryable = True
    hits: Sequence[ScoredSegment] | None = None


class TimeLimitError(AnymodalError):
    """A search exceeded its deadline; the same call may be faster later."""

    retryable = True


class TooCostlyError(AnymodalError):
    """A request would take more tokens or processor time than one request may."""


class CancelledError(AnymodalError):
    """Nobody waits for the answer any more."""


class OverloadedError(AnymodalError):
    """Too many requests at once; the same call may succeed a moment later."""

    retryable = True
