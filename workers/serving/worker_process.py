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
        try:
            for duty in self._duties:
                duty()
        except Exception as error:  # noqa: BLE001 (the broker is away; the next sweep tries again)
            logger.debug("sweep failed: %s", error)


def _announce_stop(**_: Any) -> None:
    announce_stop()


def _keep_logs(**_: Any) -> None:
    """Keep the logging that the command has set up, for the pool's logger too."""
    from billiard.util import get_logger

    pool = get_logger()
    pool.propagate = True
    pool.setLevel(logging.ERROR)


def _begin_task(task_id: str, args: Sequence[Any], **_: Any) -> None:
    logs.begin_task(task_id, args)


def _end_task(**_: Any) -> None:
    logs.end_task()


def _trace(**_: Any) -> None:
    tracing.start()


def _end_trace(**_: Any) -> None:
    tracing.stop()


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


app.steps["worker"].add(SweepStep)
setup_logging.connect(_keep_logs, weak=False)
task_prerun.connect(_begin_task, weak=False)
task_postrun.connect(_end_task, weak=False)  # after Celery has logged the task's end
worker_shutting_down.connect(_announce_stop, weak=False)
worker_process_init.connect(_count_alone, weak=False)  # first: loading the model is counted
worker_process_init.connect(_trace, weak=False)
worker_process_shutdown.connect(_end_trace, weak=False)
worker_process_init.connect(_warm_up, weak=False)
