"""A Milvus server that is unreachable, silent, or disappears."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from search.errors import StoreUnavailableError
from search.store.base import VectorStore
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset
from tests.support.milvus_server import free_port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def serve(folder: Path, port: int) -> tuple[Any, Any]:
    """Serve Milvus Lite, which speaks the server's protocol."""
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    server, database, _ = start_server_in_thread(str(folder), port=port, max_workers=1)
    return server, database


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    with pytest.raises(StoreUnavailableError) as caught:
        open_store(uri, SPACE, DIM, connect_timeout_s=1)
    assert caught.value.retryable
    assert uri.replace("me:secret@", "") in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_never_answers_does_not_hang_us(silent_port: int) -> None:
    with pytest.raises(StoreUnavailableError):
        open_store(f"http://127.0.0.1:{silent_port}", SPACE, DIM, connect_timeout_s=1)


def test_a_server_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(
            open_store, f"http://127.0.0.1:{port}", SPACE, DIM, connect_timeout_s=30
        )
        server, database = serve(tmp_path / "store", port)
        store = opening.result()
    assert store.assets(["a"]) == {}
    store.close()
    server.stop(0).wait()
    database.close()


def test_a_server_that_goes_away_is_unavailable_and_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    server, database = serve(tmp_path / "store", port)
    store = open_store(f"http://127.0.0.1:{port}", SPACE, DIM)
    store.write([asset("a", "/a")], [])
    server.stop(0).wait()
    database.close()
    monkeypatch.setattr(store._link, "_timeout_s", 2.0)  # type: ignore[attr-defined]
    with pytest.raises(StoreUnavailableError) as caught:
        store.assets(["a"])
    assert f"127.0.0.1:{port}" in str(caught.value)
    store.close()

    server, database = serve(tmp_path / "store", port)
    again = open_store(f"http://127.0.0.1:{port}", SPACE, DIM)
    assert list(again.assets(["a"])) == ["a"]
    again.close()
    server.stop(0).wait()
    database.close()


def test_several_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    port = free_port()
    server, database = serve(tmp_path / "store", port)
    start = Barrier(4)

    def opened(_: int) -> VectorStore:
        start.wait()
        return open_store(f"http://127.0.0.1:{port}", SPACE, DIM)

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(opened, range(4)))
    for store in stores:
        assert store.assets(["a"]) == {}
        store.close()
    server.stop(0).wait()
    database.close()
