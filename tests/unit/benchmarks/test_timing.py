import os
import subprocess
import sys
from collections import Counter
from itertools import count

import numpy as np
import pytest

from benchmarks.harness.timing import (
    Ratio,
    Times,
    on_one_core,
    peak_resident_bytes,
    resident_bytes,
    take_turns,
)


def test_each_candidate_warms_up_and_runs_in_every_round() -> None:
    calls: list[str] = []
    ticks = count()
    times = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        n_rounds=5,
        n_warm_up=2,
        clock=lambda: float(next(ticks)),
    )
    assert Counter(calls) == {"a": 7, "b": 7}
    rounds = [set(calls[i : i + 2]) for i in range(4, len(calls), 2)]
    assert rounds == [{"a", "b"}] * 5
    np.testing.assert_array_equal(times.seconds, np.ones((2, 5)))


def test_the_order_within_rounds_varies() -> None:
    calls: list[str] = []
    take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, n_rounds=20, n_warm_up=0
    )
    assert {"".join(calls[i : i + 2]) for i in range(0, 40, 2)} == {"ab", "ba"}


def test_speedup_compares_within_a_round() -> None:
    seconds = np.array([[0.4, 4.0, 0.4], [0.1, 1.0, 0.1]])
    times = Times(("slow", "fast"), seconds)
    assert times.speedup("fast", "slow") == Ratio(4.0, 4.0, 4.0)
    assert times.median_ms("fast") == pytest.approx(100)


def test_pinned_to_one_core_and_back() -> None:
    before = os.sched_getaffinity(0)
    with on_one_core() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_memory_of_another_process() -> None:
    code = "held = bytearray(64 * 2**20); print(len(held), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        now = resident_bytes(process.pid)
        assert 64 * 2**20 < now <= peak_resident_bytes(process.pid)
        process.communicate(b"\n")


def test_memory_of_this_process() -> None:
    assert 2**20 < resident_bytes() <= peak_resident_bytes()
