"""Locks that all workers share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from workers.jobs.board import JobBoard


def test_a_content_is_held_by_one_and_freed_by_death(url: str) -> None:
    board, other = JobBoard(url, lease_s=1.5), JobBoard(url, lease_s=1.5)

    def enter() -> None:
        with other.locks.exclusive(["b", "c"]):
            pass

    with ThreadPoolExecutor(1) as pool:
        with board.locks.exclusive(["a", "b"]):
            entered = pool.submit(enter)
            time.sleep(2)  # beyond the lease, which is renewed
            assert not entered.done()
        entered.result(timeout=30)
    board.link.redis.set("anymodal:lock:b", "a worker that died", px=500)
    enter()
    assert board.link.redis.keys("anymodal:lock:*") == []


def test_one_worker_alone_does_what_is_done_once(url: str) -> None:
    board, other = JobBoard(url, lease_s=1.0), JobBoard(url, lease_s=1.0)
    with board.locks.alone("calibration") as first:
        time.sleep(1.5)  # beyond the lease, which is renewed
        with (
            other.locks.alone("calibration") as second,
            other.locks.alone("something else") as apart,
        ):
            assert (first, second, apart) == (True, False, True)
        with other.locks.alone("calibration") as still:
            assert not still
        board.link.redis.delete("anymodal:lock:calibration")  # as its holder's death would
        with other.locks.alone("calibration") as third:
            assert third
    assert board.link.redis.keys("anymodal:lock:*") == []
