"""The stores that the contract is run against."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from search.store.base import VectorStore
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE

SERVER = os.environ.get("ANYMODAL_TEST_MILVUS", "")
DURABLE = ["lite", *(["server"] if SERVER else [])]
OpenAgain = Callable[..., VectorStore]


@pytest.fixture(params=DURABLE)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenAgain]:
    """Closes what it opened before and opens the same durable store; options override."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    uri = SERVER if request.param == "server" else str(tmp_path / "store")
    opened: list[VectorStore] = []

    def again(space: str = SPACE, **options: bool) -> VectorStore:
        for store in opened:
            store.close()
        opened.append(open_store(uri, space, DIM, prefix=prefix, **options))
        return opened[-1]

    yield again
    for store in opened:
        store.close()
    if request.param == "server":
        _drop(prefix)


@pytest.fixture(params=["memory", *DURABLE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """A new, empty store."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    uri = {"memory": "memory:", "server": SERVER}.get(request.param, str(tmp_path / "store"))
    store = open_store(uri, SPACE, DIM, prefix=prefix)
    yield store
    store.close()
    if request.param == "server":
        _drop(prefix)


def _drop(prefix: str) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(SERVER, timeout=10)
    for name in client.list_collections(timeout=10):
        if name.startswith(prefix):
            client.drop_collection(name, timeout=10)
    client.close()
