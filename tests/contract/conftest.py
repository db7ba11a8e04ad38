"""The stores that the contract is run against."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from search.store.base import VectorStore
from search.store.lanes import StoreLanes
from search.store.open import open_lanes, open_store
from search.store.schema import ASSETS, LOCATIONS
from tests.contract.rows import CALIBRATION, DIM, SPACE, record_of
from tests.support.milvus_server import MilvusServer

ROOT = Path(__file__).parents[2]
ON_MILVUS = ["lite", pytest.param("milvus_server", marks=pytest.mark.milvus)]
DURABLE = ["folder", *ON_MILVUS]
WITH_WORDS = ["folder", "lite"]
"""The server of the tests is older than BM25."""


@pytest.fixture(autouse=True)
def _locks_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are kept in the test's folder, not in the user's."""
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))


class Opener:
    """Opens the same new store each time, and cleans up."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self.opened: list[VectorStore] = []

    def __call__(self, space: str = SPACE, **options: Any) -> VectorStore:
        """Close what was opened before and open the store; ``options`` override the defaults."""
        self.close()
        return self.beside(space, **options)

    def beside(self, space: str = SPACE, **options: Any) -> VectorStore:
        """Open the store again, as another process does."""
        options = {"calibration": CALIBRATION, **options}
        self.opened.append(open_store(self.uri, space, DIM, prefix=self.prefix, **options))
        return self.opened[-1]

    def lanes(self, lanes: StoreLanes, **options: Any) -> VectorStore:
        """Open the store in some lanes, as another process does."""
        self.opened.append(open_lanes(self.uri, lanes, prefix=self.prefix, **options))
        return self.opened[-1]

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def drop(self) -> None:
        """Leave nothing on a server."""
        self.close()
        if not self.uri.startswith("http"):
            return
        client = MilvusClient(self.uri, timeout=60, dedicated=True)
        for name in client.list_collections(timeout=60):
            if name.startswith(self.prefix):
                client.drop_collection(name, timeout=60)
        client.close()


@pytest.fixture(params=DURABLE)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens a new, durable store, and opens it again."""
    opener = Opener(uri_of(request, tmp_path))
    yield opener
    opener.drop()


@pytest.fixture(params=["memory", *DURABLE])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """A store that was just made."""
    opener = Opener(uri_of(request, tmp_path))
    yield opener()
    opener.drop()


@pytest.fixture(scope="session")
def on_servers() -> Iterator[dict[str, Opener]]:
    """By kind, the stores on servers that tests share: a server takes seconds to make one."""
    openers: dict[str, Opener] = {}
    yield openers
    for opener in openers.values():
        opener.close()  # the servers go, too


@pytest.fixture(params=["memory", *DURABLE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """An empty store, which may have held others' rows."""
    yield from empty_store(request, tmp_path)


def empty_store(request: pytest.FixtureRequest, folder: Path) -> Iterator[VectorStore]:
    """An empty store of the kind that is the request's parameter."""
    if request.param != "milvus_server":
        opener = Opener(uri_of(request, folder))
        yield opener()
        opener.close()
        return
    openers = request.getfixturevalue("on_servers")
    if request.param not in openers:
        openers[request.param] = Opener(uri_of(request, folder))
        openers[request.param]()
    store = openers[request.param].opened[0]
    yield store
    record = record_of(store)
    kinds = (*record._segments.values(), ASSETS, LOCATIONS)
    rows = (record._rows.where(kind, "", ["asset_id"]) for kind in kinds)
    store.delete(list({row["asset_id"] for row in chain(*rows)}))
    assert not list(store.scan())


def uri_of(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "memory":
        return "memory:"
    if request.param == "folder":
        return str(folder / "store")
    if request.param == "lite":
        return str(folder / "store.db")
    server: MilvusServer = request.getfixturevalue(request.param)
    return server.uri
