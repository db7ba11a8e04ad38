from __future__ import annotations

import pytest

from encoder.errors import InputError
from search.errors import CancelledError, TimeLimitError
from search.query.deadline import Deadline
from search.query.progress import Progress


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
    progress = Progress(Deadline())
    with progress.stage("plan"):
        progress.deadline.cancel()
    with pytest.raises(CancelledError), progress.stage("search"):
        raise AssertionError("began")
    assert list(progress.timer.latency_s()) == ["plan", "total"]
