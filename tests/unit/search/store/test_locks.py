"""The locks of all who write to a store."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from encoder.types import TEXT
from search.errors import StoreBusyError, StoreError, StoreGoneError
from search.store import locks as of_stores
from search.store.locks import (
    WriteLocks,
    exclusive,
    folder_locks,
    lock_in_turn,
    stripe_of,
    thread_locks,
)
from search.store.memory import MemoryStore
from search.types import AssetRow

_HOLDER = """
import sys, time
from pathlib import Path
from search.store.locks import folder_locks
with folder_locks(Path(sys.argv[1])).of(sys.argv[2:]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["threads", "files"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Sequence[WriteLocks]:
    """The locks of a store, opened twice where it can be."""
    if request.param == "files":
        return folder_locks(tmp_path), folder_locks(tmp_path)
    return (thread_locks(),) * 2


def names_apart(n: int) -> list[str]:
    """Names that have a lock each."""
    by_stripe = {stripe_of(str(number)): str(number) for number in range(1000)}
    return list(by_stripe.values())[:n]


def test_one_holds_what_another_waits_for(two: Sequence[WriteLocks]) -> None:
    a, b, c = names_apart(3)
    mine, other = two
    entered = Event()

    def enter(block: Callable[[], object]) -> None:
        with block():  # type: ignore[attr-defined]
            entered.set()

    with ThreadPoolExecutor(4) as pool:
        with mine.of([a, b]):
            pool.submit(enter, lambda: other.of([c])).result(10)
            entered.clear()
            waiting = [pool.submit(enter, lambda: other.of([b, c])), pool.submit(enter, mine.whole)]
            assert not entered.wait(0.2)
        for one in waiting:
            one.result(10)


def test_a_thread_may_enter_again_what_it_holds_and_nothing_else(two: Sequence[WriteLocks]) -> None:
    a, b = names_apart(2)
    mine, same = two
    with mine.whole(), same.of([a]), mine.of([]):
        pass
    with mine.of([a]):
        with pytest.raises(StoreError), mine.of([b]):
            pass
        with mine.of([a]):
            pass
    with mine.of([b]):
        pass


def test_a_process_excludes_others_until_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = names_apart(2)
    words = [sys.executable, "-c", _HOLDER, tmp_path, a]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        monkeypatch.setattr(of_stores, "PATIENCE_S", 0.2)
        with folder_locks(tmp_path).of([b]):
            pass
        with pytest.raises(StoreBusyError, match=str(tmp_path)), folder_locks(tmp_path).of([a]):
            pass
        with pytest.raises(StoreBusyError), folder_locks(tmp_path).whole():
            pass
    finally:
        holder.kill()
        holder.communicate()
    with folder_locks(tmp_path).whole():
        pass


def test_a_folder_that_is_gone_stays_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreGoneError), folder_locks(tmp_path / "store").of(["a"]):
        pass
    assert list(tmp_path.iterdir()) == []


def row(asset_id: str, *uris: str) -> AssetRow:
    return AssetRow(asset_id, TEXT, "text/plain", 1, {}, list(uris))


def test_what_comes_to_a_place_meanwhile_is_held_as_well() -> None:
    store = MemoryStore(4)
    store.write([row("before", "/a.txt")], [])
    first = store.locks
    store.locks = replace(first, check=lambda: store.write([row("late", "/a.txt")], []))
    with exclusive(store, ["new"], ["/a.txt"]) as at_uris:
        assert sorted(one.asset_id for one in at_uris["/a.txt"]) == ["before", "late"]
        with first.of(["late"]), first.of(["before", "new", "/a.txt"]):  # nested: it is held
            pass


def test_two_who_bring_different_contents_to_a_place_take_turns() -> None:
    store = MemoryStore(4)

    def bring(name: str) -> None:
        with exclusive(store, [name], ["/a.txt"]) as at_uris:
            time.sleep(0.05)
            store.delete([one.asset_id for one in at_uris.get("/a.txt", [])])
            store.write([row(name, "/a.txt")], [])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bring, ["one", "two"]))
    assert len(list(store.scan())) == 1


def test_one_who_locks_in_a_loop_lets_another_in(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    is_locked = Event()

    def descriptors() -> tuple[int, int]:
        return os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "lock", os.O_RDWR)

    def lock_once() -> None:
        lock_in_turn(*waiting, "The store")
        is_locked.set()
        fcntl.flock(waiting[1], fcntl.LOCK_UN)

    looping, waiting = descriptors(), descriptors()
    lock_in_turn(*looping, "The store")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lock_once)
        n_more = 0
        while not is_locked.is_set() and n_more < 200:
            time.sleep(0.01)
            fcntl.flock(looping[1], fcntl.LOCK_UN)
            lock_in_turn(*looping, "The store")
            n_more += 1
        fcntl.flock(looping[1], fcntl.LOCK_UN)
    for descriptor in (*looping, *waiting):
        os.close(descriptor)
    assert n_more < 20
