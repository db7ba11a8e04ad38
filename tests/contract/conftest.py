"""The stores that the contract is run against."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from search.store.base import VectorStore
from search.store.lite.shared import served
from search.store.open import open_store
from tests.contract.rows import CALIBRATION, DIM, SPACE
from tests.support.milvus_server import MilvusServer

ROOT = Path(__file__).parents[2]
DURABLE = ["lite", "lite_server", pytest.param("milvus_server", marks=pytest.mark.milvus)]


@pytest.fixture(scope="session")
def lite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose Milvus Lite is served by another process, as `anymodal up` does."""
    folder = tmp_path_factory.mktemp("shared") / "store"
    words = [sys.executable, "-m", "search.store.lite.shared", str(folder), "0"]
    process = subprocess.Popen(words, cwd=ROOT)
    while not served(folder):
        assert process.poll() is None
        time.sleep(0.05)
    yield folder
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture(autouse=True)
def _words_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word indexes are kept in the test's folder, not in the user's."""
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))


class Opener:
    """Opens the same new store each time, and cleans up."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.prefix = f"t{uuid.uuid4().hex[:8]}"
        self._opened: list[VectorStore] = []

    def __call__(self, space: str = SPACE, **options: Any) -> VectorStore:
        """Close what was opened before and open the store; ``options`` override the defaults."""
        self.close()
        return self.beside(space, **options)

    def beside(self, space: str = SPACE, **options: Any) -> VectorStore:
        """Open the store again, as another process does."""
        options = {"calibration": CALIBRATION, **options}
        self._opened.append(open_store(self.uri, space, DIM, prefix=self.prefix, **options))
        return self._opened[-1]

    def close(self) -> None:
        for store in self._opened:
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
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    """A new, empty store."""
    opener = Opener(uri_of(request, tmp_path))
    yield opener()
    opener.drop()


def uri_of(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "memory":
        return "memory:"
    if request.param == "lite":
        return str(folder / "store")
    if request.param == "lite_server":
        return str(request.getfixturevalue("lite_server"))
    if request.param == "bm25":
        server_of_words = served(request.getfixturevalue("lite_server"))
        assert server_of_words
        return server_of_words.uri
    server: MilvusServer = request.getfixturevalue(request.param)
    return server.uri
