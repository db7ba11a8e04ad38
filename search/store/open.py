"""Opens the store that a URI names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from urllib.parse import urlsplit

from encoder.errors import InputError
from search.errors import StoreMissingError
from search.store.folders import CONTENT, default_folder
from search.store.milvus.lite import is_file

if TYPE_CHECKING:
    from encoder.space import Calibration
    from encoder.types import Modality
    from search.store.base import VectorStore
    from search.store.lanes import StoreLanes
    from search.store.locks import WriteLocks


class StoreOptions(TypedDict, total=False):
    """How a store is opened; one in memory takes none of them."""

    encoder: Mapping[str, Any]
    """What a new store records of the encoder: see
    `search.store.space_record.SearchedSpace` ({})."""
    prefix: str
    """Begins the collections' names, so that several stores can share a server ("anymodal")."""
    timeout_s: float
    """Limit of one call (30)."""
    connect_timeout_s: float
    """Limit of the first answer of a server (10)."""
    create: bool
    """Create the store if there is none; otherwise a missing store is an error (True)."""
    index: str
    """The index of vectors if a store is created on a server, see
    `search.store.milvus.indexes` ("HNSW")."""
    locks: WriteLocks | None
    """Those that all writers to a store on a server share, as on a broker (None: the processes of
    this user on this machine; others are refused)."""


def open_store(
    uri: str | None,
    space_fingerprint: str,
    embed_dim: int,
    *,
    calibration: Mapping[Modality, Calibration] | None = None,
    probes: Sequence[str] = (),
    **options: Unpack[StoreOptions],
) -> VectorStore:
    """Open a store of one space; see `open_lanes`.

    Args:
        uri: see `store_target`, or ``memory:`` for nothing durable.
        space_fingerprint: of `encoder.space.Space`.
        embed_dim: the size of an embedding.
        calibration: the space's; a store keeps what it was created with.
        probes: of the space, if its model runs elsewhere.
        options: see `StoreOptions`.
    """
    from search.store.lanes import StoredSpace, StoreLanes

    space = StoredSpace(space_fingerprint, embed_dim, calibration or {}, tuple(probes))
    return open_lanes(uri, StoreLanes(space), **options)


def open_lanes(uri: str | None, lanes: StoreLanes, **options: Unpack[StoreOptions]) -> VectorStore:
    """Open a store; call it in the process that uses it, after a fork.

    Args:
        uri: see `store_target`, or ``memory:`` for nothing durable.
        lanes: that are searched and written to, or filled beside others.
        options: see `StoreOptions`.

    Raises:
        StoreMissingError: there is none, and ``create=False``.
        SpaceMismatchError: other lanes are searched, without `Filling`.
        StoreBusyError: another process holds the store.
        StoreUnavailableError: the server does not answer.
        ModelError: the store noted the probes of another model.
        InputError: not a URI of the kinds above.
    """
    if uri == "memory:":
        from search.store.memory import MemoryStore

        return MemoryStore(lanes=lanes)
    target = store_target(uri)
    if not isinstance(target, Path):
        from search.store.milvus.store import MilvusStore

        return MilvusStore(target, lanes, **options)
    from search.store.folder.store import FolderStore
    from search.store.space_record import FolderRecord, check_current, check_searched, searched_in

    if lanes.filling:
        return FolderStore(target, lanes)
    if not options.get("create", True):
        check_store(target)
    record, expected = FolderRecord(target), searched_in(lanes, options.get("encoder", {}))
    if not check_searched(record, expected, str(target)):
        record.make(expected)
    check = partial(check_current, record, expected, str(target))
    return FolderStore(target, lanes, check_current=check)


def check_store(folder: Path) -> None:
    """Raise `StoreMissingError` unless a folder holds a store. Fast."""
    if not (folder / CONTENT).is_dir():
        raise StoreMissingError.at(str(folder))


def store_target(uri: str | None) -> Path | str:
    """A folder, or what pymilvus opens: a server's URI, or the path of a FILE.db for Milvus Lite.

    Args:
        uri: a path (None: `default_folder`), or ``http://[user:password@]host:19530``.

    Raises:
        InputError: neither.

    >>> store_target("http://localhost:19530"), store_target("/photos/index.db")
    ('http://localhost:19530', '/photos/index.db')
    """
    if uri is None:
        return default_folder()
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)
    if scheme and scheme[1].lower() in ("http", "https", "tcp"):
        return uri
    if not uri or scheme:
        expected = "a folder, FILE.db, http://HOST:19530, or memory:"
        raise InputError("store", got=repr(uri), wanted=expected)
    path = Path(uri).expanduser().absolute()
    return str(path) if is_file(str(path)) else path


def is_on_server(uri: str | None) -> bool:
    """Whether a store is on a server, so that many processes can write to it.

    >>> [is_on_server(uri) for uri in ("http://localhost:19530", "/home/me/store", "x.db", None)]
    [True, False, False, False]
    """
    target = None if uri == "memory:" else store_target(uri)
    return isinstance(target, str) and not is_file(target)


def admits_others(uri: str | None) -> bool:
    """Whether several processes may have a store open at once.

    >>> [admits_others(uri) for uri in ("http://localhost:19530", "/home/me/store", "x.db")]
    [True, True, False]
    """
    return uri != "memory:" and not is_file(str(store_target(uri)))


def store_name(uri: str | None) -> str:
    """The canonical name of a store: its real path, or a server's database.

    >>> store_name("http://me:secret@Host:19530"), store_name("https://host/films")
    ('http://host:19530/default', 'https://host:443/films')
    """
    target = store_target(uri)
    if isinstance(target, Path) or is_file(target):
        return str(Path(target).resolve())
    parts = urlsplit(target)
    port = parts.port or (443 if parts.scheme == "https" else 19530)
    return f"{parts.scheme}://{parts.hostname}:{port}/{parts.path.strip('/') or 'default'}"
