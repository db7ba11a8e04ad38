"""Stores with 20,000 segments: filled once, and kept with the other benchmark data."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness.reporting import Settings, note
from tests.support.milvus_server import MilvusServer

N_SEGMENTS = 20_000
_INDEX_S = 300.0


@contextmanager
def filled_server(settings: Settings) -> Iterator[str]:
    """A genuine Milvus server with the segments in an HNSW index; yields its address."""
    folder = settings.cache / f"milvus-{_n_segments(settings)}"
    with _fresh(folder), MilvusServer(folder, is_brisk=False) as server:
        if not _is_filled(folder):
            _fill(server.uri, _n_segments(settings))
            index(server.uri)
            _note_filled(folder)
        else:
            _load(server.uri)
        yield server.uri


@contextmanager
def filled_lite(settings: Settings) -> Iterator[str]:
    """Milvus Lite with the same segments; yields its folder."""
    folder = settings.cache / f"lite-{_n_segments(settings)}"
    with _fresh(folder):
        if not _is_filled(folder):
            _fill(str(folder / "store"), _n_segments(settings))
            _note_filled(folder)
        yield str(folder / "store")


def _n_segments(settings: Settings) -> int:
    return settings.items(N_SEGMENTS, 2000)


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Remove a store filled in part or for a different space; a complete one is reused."""
    if folder.exists() and not _is_filled(folder):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    yield


def _mark(folder: Path) -> Path:
    return folder / "filled.json"


def _is_filled(folder: Path) -> bool:
    mark = _mark(folder)
    return mark.is_file() and json.loads(mark.read_text()).get("made") == _made()


def _note_filled(folder: Path) -> None:
    _mark(folder).write_text(json.dumps({"made": _made()}))


def _made() -> str:
    """What a store must match to be reused."""
    from search.store.schema import SCHEMA_VERSION
    from workers.config import current_settings
    from workers.serving.resources import Resources

    return f"{Resources(current_settings()).encoder().space.fingerprint} schema {SCHEMA_VERSION}"


def _fill(store: str, n_segments: int) -> None:
    from benchmarks.corpora.segments import fill
    from search import open_store
    from workers.config import current_settings
    from workers.serving.resources import Resources

    note(f"filling {store}")
    encoder = Resources(current_settings()).encoder()
    opened = open_store(
        store,
        encoder.space.fingerprint,
        encoder.embed_dim,
        calibration=encoder.space.calibration,
    )
    try:
        note(f"{fill(opened, encoder, n_segments)} segments")
    finally:
        opened.close()


def index(uri: str) -> None:
    """Seal what was written, and wait until all of it is indexed."""
    from pymilvus import MilvusClient

    client = MilvusClient(uri)
    names = client.list_collections()
    for name in names:
        client.flush(name)
    deadline = time.monotonic() + _INDEX_S
    while any(_pending(client, name) for name in names):
        if time.monotonic() > deadline:
            raise TimeoutError("Milvus does not finish its indexes.")
        time.sleep(1)
    client.close()
    _load(uri)


def _pending(client: object, name: str) -> int:
    indexes = client.list_indexes(name)  # type: ignore[attr-defined]
    facts = [client.describe_index(name, index) for index in indexes]  # type: ignore[attr-defined]
    return sum(int(one.get("pending_index_rows", 0)) for one in facts)


def _load(uri: str) -> None:
    """Have the server load all of it, and wait."""
    from pymilvus import MilvusClient

    client = MilvusClient(uri)
    for name in client.list_collections():
        if client.list_indexes(name):  # the record of the current space has none
            client.load_collection(name, timeout=_INDEX_S)
    client.close()
