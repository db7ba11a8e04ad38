"""Locks that all workers share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from search.errors import StoreBusyError
from search.store.locks import stripe_of
from workers.jobs import leases as locks
from workers.jobs.board import JobBoard
from workers.jobs.leases import repeating

LEASE_S = 60


@pytest.fixture
def board(url: str, monkeypatch: pytest.MonkeyPatch) -> JobBoard:
    """A board with long leases, which are renewed many times a second."""
    monkeypatch.setattr(locks, "repeating", lambda beat, every_s: repeating(beat, every_s / 1000))
    return JobBoard(url, lease_s=LEASE_S)


def renewed(board: JobBoard, what: str) -> None:
    """Wait until a lease that had half of its time left has all of it."""
    name = f"anymodal:lock:{what}"
    board.link.redis.pexpire(name, LEASE_S * 500)
    while board.link.redis.pttl(name) <= LEASE_S * 500:  # pytest's time limit ends it
        time.sleep(0.01)


@pytest.mark.parametrize("others", ["some", "whole"])
def test_a_content_is_held_by_one_and_freed_by_death(
    board: JobBoard, url: str, others: str
) -> None:
    other = JobBoard(url, lease_s=LEASE_S).locks.writers

    def enter() -> None:
        with other.of(["b", "c"]) if others == "some" else other.whole():
            pass

    mine = [f"stripe:{stripe_of(name):02d}" for name in ("a", "b")]
    with ThreadPoolExecutor(1) as pool:
        with board.locks.writers.of(["a", "b"]):
            entered = pool.submit(enter)
            for stripe in mine:
                renewed(board, stripe)
            assert not entered.done()
        entered.result(timeout=30)
    board.link.redis.set(f"anymodal:lock:{mine[1]}", "a worker that died", px=500)
    enter()
    assert board.link.redis.keys("anymodal:lock:*") == []


def test_a_writer_whose_lock_ran_out_is_told(url: str) -> None:
    """As one that stood still for longer than its lease, while another wrote."""
    board = JobBoard(url, lease_s=1)

    def write_late() -> None:
        with board.locks.writers.of(["a"]):
            [name] = board.link.redis.keys("anymodal:lock:*")
            board.link.redis.set(name, "another worker", px=600)
            time.sleep(0.6)  # until it was to be renewed

    with pytest.raises(StoreBusyError, match="ran out"):
        write_late()


def test_whole_waits_for_some_while_others_come_and_go(board: JobBoard, url: str) -> None:
    """Of two who want everything, neither waits for the other while others keep some of it."""
    boards = [board, *(JobBoard(url, lease_s=LEASE_S) for _ in range(3))]
    ended = Event()

    def busy(at: int) -> None:
        while not ended.is_set():
            with boards[at].locks.writers.of([f"{at}-{n}" for n in range(8)]):
                time.sleep(0.01)

    def take() -> None:
        for _ in range(3):
            with boards[0].locks.writers.whole():
                time.sleep(0.01)

    with ThreadPoolExecutor(5) as pool:
        work = [pool.submit(busy, at) for at in (1, 2, 3)]
        wholes = [pool.submit(take) for _ in range(2)]
        try:
            for whole in wholes:
                whole.result(timeout=60)
        finally:
            ended.set()
    assert all(one.exception() is None for one in work)


def test_one_worker_alone_does_what_is_done_once(board: JobBoard, url: str) -> None:
    other = JobBoard(url, lease_s=LEASE_S)
    with board.locks.alone("calibration") as first:
        renewed(board, "calibration")
        with (
            other.locks.alone("calibration") as second,
            other.locks.alone("something else") as apart,
        ):
            assert (first, second, apart) == (True, False, True)
        with other.locks.alone("calibration") as still:
            assert not still
    name = "anymodal:lock:calibration"
    board.link.redis.set(name, "a worker that died")
    with other.locks.alone("calibration") as third:
        assert not third
    board.link.redis.delete(name)  # as the end of its lease does
    with other.locks.alone("calibration") as fourth:
        assert fourth
    assert board.link.redis.keys("anymodal:lock:*") == []
