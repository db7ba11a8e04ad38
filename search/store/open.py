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
from search.store.folders import SPACES, default_folder
from search.store.milvus.lite import is_file

if TYPE_CHECKING:
    from encoder.space import Calibration, Space
    from encoder.types import Modality
    from search.store.base import VectorStore
    from search.store.locks import WriteLocks
    from search.store.space_record import SearchedSpace


class StoreOptions(TypedDict, total=False):
    """How a store is opened; a store in memory takes only the calibration."""

    calibration: Mapping[Modality, Calibration] | None
    """The space's; with it, one search finds the best of all modalities. A store keeps the
    one it was created with."""
    prefix: str
    """Begins the collections' names, so that several stores can share a server ("anymodal")."""
    timeout_s: float
    """Limit of one call (30)."""
    connect_timeout_s: float
    """Limit of the first answer of a server (10)."""
    new_space: bool
    """Create collections next to those of other spaces, as a reindex does (False)."""
    create: bool
    """Create the store if there is none; otherwise a missing store is an error (True)."""
    index: str
    """The index of vectors if a store is created on a server, see
    `search.store.milvus.indexes` ("HNSW")."""
    locks: WriteLocks | None
    """Those that all writers to a store on a server share, as on a broker (None: the processes of
    this user on this machine; others are refused)."""
    searched: SearchedSpace | None
    """What the first write records of the store (None: its space alone)."""


def open_store(
    uri: str | None,
    space_fingerprint: str,
    embed_dim: int,
    *,
    probes: Sequence[str] = (),
    **options: Unpack[StoreOptions],
) -> VectorStore:
    """Open a store for one embedding space; call it in the process that uses it, after a fork.

    Args:
        uri: see `store_target`, or ``memory:`` for nothing durable.
        space_fingerprint: of `encoder.space.Space`.
        embed_dim: the size of an embedding.
        probes: of the space, if its model runs elsewhere: a new store notes them.
        options: see `StoreOptions`.

    Raises:
        StoreMissingError: there is none, and ``create=False``.
        SpaceMismatchError: the store holds only embeddings of a different space, or unfinished ones
            of this.
        StoreBusyError: another process holds the store.
        StoreUnavailableError: the server does not answer.
        ModelError: the store noted the probes of another model.
        InputError: not a URI of the kinds above.
    """
    store = _opened(uri, space_fingerprint, embed_dim, options)
    if probes:
        try:
            _check_probes(store, tuple(probes), uri)
        except BaseException:
            store.close()
            raise
    return store


def _check_probes(store: VectorStore, probes: Sequence[str], uri: str | None) -> None:
    from encoder.models.probes import check_same
    from search.store.calibrated import PROBES

    state = store.stored_calibration()
    if noted := state.about.get(PROBES):
        before = f"the one that filled the store {store_name(uri)}"
        check_same("The model on the server", probes, noted, before)
    elif not store.read_only:
        store.recalibrate(state.constants, {**state.about, PROBES: list(probes)})


def _opened(
    uri: str | None, space_fingerprint: str, embed_dim: int, options: StoreOptions
) -> VectorStore:
    if uri == "memory:":
        from search.store.memory import MemoryStore

        return MemoryStore(embed_dim, options.get("calibration"))
    target = store_target(uri)
    if isinstance(target, Path) and not options.get("create", True):
        check_store(target)
    if not isinstance(target, Path):
        from search.store.milvus.store import MilvusStore

        return MilvusStore(target, space_fingerprint, embed_dim, **options)
    from search.store.folder.store import FolderStore
    from search.store.space_record import (
        FolderRecord,
        SearchedSpace,
        check_current,
        check_searched,
        mismatch,
    )

    record, is_new = FolderRecord(target), options.get("new_space", False)
    expected = options.get("searched") or SearchedSpace(space_fingerprint)
    spaces = record.spaces()
    if not is_new:
        check_searched(record, expected, str(target))
        if spaces and space_fingerprint not in spaces:
            raise mismatch(str(target), spaces, space_fingerprint)
    if not options.get("create", True) and space_fingerprint not in spaces:
        raise StoreMissingError.at(str(target))
    return FolderStore(
        target,
        space_fingerprint,
        embed_dim,
        options.get("calibration"),
        check_current=None if is_new else partial(check_current, record, expected, str(target)),
    )


def open_laned(
    uri: str | None,
    home: Space,
    others: Mapping[Modality, Space],
    encoder: Mapping[str, Any],
    **options: Unpack[StoreOptions],
) -> VectorStore:
    """Open a store for a home space and the spaces of modalities that have one of their own.

    Args:
        uri: as `open_store` takes it.
        home: of all other modalities.
        others: by modality; without any, it is a store of one space.
        encoder: what the first write records of the encoder: see
            `search.store.space_record.SearchedSpace`.
        options: see `StoreOptions`; the calibration is that of each space.

    Raises:
        StoreError: as `open_store`.
    """
    from search.store.laned import LanedStore
    from search.store.space_record import SearchedSpace

    lanes = {str(modality): space.fingerprint for modality, space in others.items()}
    first = StoreOptions(
        **{
            **options,
            "calibration": home.calibration,
            "searched": SearchedSpace(home.fingerprint, encoder, lanes=lanes),
        }
    )
    stores = {home.fingerprint: _of_lane(uri, home, first)}
    try:
        for space in others.values():
            if space.fingerprint not in stores:
                more = StoreOptions(
                    **{**options, "calibration": space.calibration, "new_space": True}
                )
                stores[space.fingerprint] = _of_lane(uri, space, more)
    except BaseException:
        for store in stores.values():
            store.close()
        raise
    home_store = stores[home.fingerprint]
    if not others:
        return home_store
    return LanedStore(home_store, {m: stores[space.fingerprint] for m, space in others.items()})


def open_recorded(folder: Path) -> VectorStore:
    """Open the store in a folder for what its record says is searched, without any model.

    Raises:
        StoreMissingError: nothing was written yet.
        StoreError: as `open_store`.
    """
    from encoder.types import Modality
    from search.store.folder.store import FolderStore
    from search.store.laned import LanedStore
    from search.store.space_record import FolderRecord, check_current

    record = FolderRecord(folder)
    current = record.read()
    if current is None or not current.spaces <= {*record.spaces()}:
        raise StoreMissingError.at(str(folder))
    follow = partial(check_current, record, current, str(folder))
    stores: dict[str, FolderStore] = {}
    try:
        for space in current.spaces:
            stores[space] = FolderStore(folder, space, None, check_current=follow)
    except BaseException:
        for store in stores.values():
            store.close()
        raise
    home = stores[current.space]
    lanes = {Modality(name): stores[space] for name, space in current.lanes.items()}
    return LanedStore(home, lanes) if lanes else home


def _of_lane(uri: str | None, space: Space, options: StoreOptions) -> VectorStore:
    return open_store(uri, space.fingerprint, space.embed_dim, probes=space.probes, **options)


def check_store(folder: Path) -> None:
    """Raise `StoreMissingError` unless a folder holds a store. Fast."""
    if not (folder / SPACES).is_dir():
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
        wanted = "a folder, FILE.db, http://HOST:19530, or memory:"
        raise InputError("store", got=repr(uri), wanted=wanted)
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
