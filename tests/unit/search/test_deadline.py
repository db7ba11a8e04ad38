from __future__ import annotations

from contextvars import copy_context
from threading import Thread
from time import thread_time

import pytest

from encoder.errors import InputError
from encoder.system.metering import running
from search.errors import CancelledError, TimeLimitError, TooCostlyError
from search.query.deadline import Budget, Deadline, StageProgress


def test_time_runs_out() -> None:
    now = [100.0]
    deadline = Deadline(2, clock=lambda: now[0])
    deadline.check()
    now[0] = 101.5
    assert deadline.left_s() == 0.5
    deadline.check()
    now[0] = 103.0
    assert deadline.left_s() == 0
    with pytest.raises(TimeLimitError, match=r"longer than 2 s\. Allow more time"):
        deadline.check()


def test_without_a_limit_only_cancelling_ends_it() -> None:
    deadline = Deadline()
    assert deadline.left_s() is None
    deadline.check()
    deadline.cancel()
    with pytest.raises(CancelledError):
        deadline.check()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="deadline"):
        Deadline(seconds)


def test_no_stage_begins_after_the_deadline() -> None:
    progress = StageProgress(Deadline())
    with progress.stage("plan"):
        progress.deadline.cancel()
    with pytest.raises(CancelledError), progress.stage("search"):
        raise AssertionError("began")
    assert list(progress.timer.latency_s()) == ["plan", "total"]


def test_a_request_ends_when_it_took_too_much_processor_time() -> None:
    budget = Budget(60, cpu_s=0.02)
    with budget.counted():
        budget.check()
        ends_s = thread_time() + 0.03
        while thread_time() < ends_s:
            pass
        with pytest.raises(TooCostlyError, match=r"0\.02 s of processor time"):
            budget.check()


def test_networks_that_run_for_a_request_are_counted_in_whichever_thread() -> None:
    budget = Budget(60, cpu_s=0.02)

    def run() -> None:
        with running(n_threads=4):
            ends_s = thread_time() + 0.01
            while thread_time() < ends_s:
                pass

    with budget.counted():
        network = Thread(target=copy_context().run, args=[run])
        network.start()
        network.join()
        with pytest.raises(TooCostlyError):
            budget.check()
