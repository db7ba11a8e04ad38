"""A Milvus server that is unreachable, silent, or disappears."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest

from search.errors import StoreBusyError, StoreUnavailableError
from search.store.base import VectorStore
from search.store.checking import Checkable
from search.store.locks import exclusive, machine_locks
from search.store.milvus import notes
from search.store.milvus.link import MilvusLink
from search.store.milvus.writing import MilvusWriter
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset, segment, vectors
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


@pytest.fixture
def served_uri(tmp_path: Path) -> Iterator[str]:
    server, database = serve(tmp_path / "store", port := free_port())
    yield f"http://127.0.0.1:{port}"
    server.stop(0).wait()
    database.close()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass on the clock of leases; each write renews its own."""
    monkeypatch.setattr(notes, "_RENEWED_S", 0.0)
    now_s, passed_s = MilvusLink.now_s, [0.0]
    monkeypatch.setattr(MilvusLink, "now_s", lambda link: now_s(link) + sum(passed_s))
    return passed_s.append


def test_those_who_share_no_locks_write_one_after_the_other(
    served_uri: str, tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    names = ("mine", "mine", "theirs")
    locks = [machine_locks(tmp_path / name) for name in names]
    stores = [open_store(served_uri, SPACE, DIM, locks=one) for one in locks]
    mine, also_mine, theirs = stores
    for store in (mine, also_mine):
        with exclusive(store, ["a"]):
            store.write([asset("a", "/a")], [])
    for refused in (theirs.check_writable, lambda: exclusive(theirs, ["b"]).__enter__()):
        with pytest.raises(StoreBusyError, match=socket.gethostname()) as caught:
            refused()
        assert "--broker" in caught.value.remedy
    pass_time(notes.LEASE_S)
    with exclusive(theirs, ["b"]):
        theirs.write([asset("b", "/b")], [])
    with pytest.raises(StoreBusyError):
        mine.check_writable()
    for store in stores:
        store.close()


def test_a_long_commit_keeps_its_lease(
    served_uri: str, tmp_path: Path, pass_time: Callable[[float], None]
) -> None:
    mine, theirs = (
        open_store(served_uri, SPACE, DIM, locks=machine_locks(tmp_path / name)) for name in "ab"
    )
    with exclusive(mine, ["a"]):
        for _ in range(3):
            pass_time(notes.LEASE_S / 2)
            mine.write([asset("a", "/a")], [])
        with pytest.raises(StoreBusyError):
            theirs.check_writable()
    for store in (mine, theirs):
        store.close()


def test_who_removes_what_was_cut_off_leaves_alone_what_others_write(
    served_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may begin to write while it waits for the locks of what was cut off."""
    locks, commit = machine_locks(tmp_path / "locks"), MilvusWriter.commit
    is_begun, may_end = Event(), Event()
    writer = open_store(served_uri, SPACE, DIM, locks=locks)

    def write(asset_id: str) -> None:
        with exclusive(writer, [asset_id]):
            writer.write([asset(asset_id, asset_id)], [segment(asset_id, 0, vectors(1)[0])])

    def cut_off(*_: object) -> None:
        raise ConnectionError

    def pause_before_commit(*of_write: Any) -> None:
        is_begun.set()
        assert may_end.wait(30)
        commit(*of_write)

    @contextmanager
    def take_late(stripes: Sequence[int]) -> Iterator[None]:
        writing.append(pool.submit(write, "b"))
        assert is_begun.wait(30)
        with locks.take(stripes):
            yield

    monkeypatch.setattr(MilvusWriter, "commit", cut_off)
    with pytest.raises(ConnectionError):
        write("a")
    monkeypatch.setattr(MilvusWriter, "commit", pause_before_commit)
    writing: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        store = open_store(served_uri, SPACE, DIM, locks=replace(locks, take=take_late))
        may_end.set()
        writing[0].result()
    assert [len(store.embeddings(asset_id)) for asset_id in "ab"] == [0, 1]
    assert isinstance(store, Checkable)
    assert store.check(lambda *_: None).wrong == {}
    for opened in (store, writer):
        opened.close()


def test_of_two_first_writers_one_is_refused(served_uri: str, tmp_path: Path) -> None:
    stores = [
        open_store(served_uri, SPACE, DIM, locks=machine_locks(tmp_path / name)) for name in "ab"
    ]
    barrier = Barrier(2)

    def begin(store: VectorStore) -> bool:
        barrier.wait()
        try:
            store.check_writable()
        except StoreBusyError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(begin, stores)) == [False, True]
    for store in stores:
        store.close()
