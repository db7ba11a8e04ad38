"""What worker processes do besides tasks: sweep, warm up, announce their end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery import bootsteps
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from celery.worker.control import Panel

from workers.app import app
from workers.jobs.shard_run import announce_stop
from workers.observe import logs, tracing
from workers.observe import metrics_server as exposition
from workers.tasks import held

logger = logging.getLogger(__name__)


# Those who reach the broker could stop workers, change their pools, and read their tasks.
for _command in Panel.data.keys() - {"ping"}:
    del Panel.data[_command]


class SweepStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is not typed
    """Sweeps, and finds jobs without a planner, on the main process's timer."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self._timer: Any = None
        self._duties: list[Callable[[], object]] = []
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        from workers.jobs.broker import publish_now
        from workers.jobs.recovery import EVERY_S, Sweeper, Takeover

        board = held().impatient_board
        self._duties = [Sweeper(board, publish_now).sweep, Takeover(board).look]
        self._timer = worker.timer.call_repeatedly(EVERY_S, self._sweep)

    def stop(self, worker: Any) -> None:  # noqa: ARG002
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        exposition.beat()
        try:
            for duty in self._duties:
                duty()
        except Exception as error:  # noqa: BLE001 (the broker is away; the next sweep tries again)
            logger.debug("sweep failed: %s", error)


def _keep_logs(**_: Any) -> None:
    """Keep the logging that the command has set up, for the pool's logger too."""
    from billiard.util import get_logger

    pool = get_logger()
    pool.propagate = True
    pool.setLevel(logging.ERROR)


def _count_alone(**_: Any) -> None:
    """Begin a child's own figures."""
    from workers.observe import metrics

    exposition.leave_to_main()
    metrics.forget_predecessor()


def _warm_up(**_: Any) -> None:
    """Load the model, once per process and after the fork, and limit memory from here on.

    A fixed limit below the model's own size would replace the process after every task.
    """
    from billiard.compat import mem_rss
    from billiard.process import current_process

    try:
        held().encoder()
    except Exception:
        logger.exception("The model cannot be loaded; every task will fail")
    body = getattr(current_process(), "_target", None)
    if body is not None:
        body.max_memory_per_child = mem_rss() + held().settings.child_growth_mb * 1024


def _start(*, task_id: str, args: Sequence[Any], **_: Any) -> None:
    logs.begin_task(task_id, args)


def _without_facts(call: Callable[[], object]) -> Callable[..., None]:
    """A receiver of a signal that leaves out what it says."""

    def receive(**_: Any) -> None:
        call()

    return receive


app.steps["worker"].add(SweepStep)
for signal, receiver in (
    (setup_logging, _keep_logs),
    (task_prerun, _start),
    (task_postrun, _without_facts(logs.end_task)),  # after Celery has logged the task's end
    (worker_shutting_down, _without_facts(announce_stop)),
    (worker_process_init, _count_alone),  # first: loading the model is counted
    (worker_process_init, _without_facts(tracing.start)),
    (worker_process_shutdown, _without_facts(tracing.stop)),
    (worker_process_init, _warm_up),
):
    signal.connect(receiver, weak=False)
