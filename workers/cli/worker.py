"""``anymodal worker``."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from workers.cli.options import log_level_option, settings_options
from workers.jobs.shard import queue_name
from workers.pipeline.files import CLASSES

if TYPE_CHECKING:
    from workers.jobs.broker_metrics import BrokerCollector

_SOLO = ["--pool=solo"]


@click.command()
@settings_options("broker", "store", "model", "metrics_port", "metrics_host", "log_format")
@click.option(
    "--concurrency", default=1, show_default=True, help="How many tasks (processes) to run at once."
)
@click.option("--autoscale", metavar="MAX,MIN", help="Scale the tasks between MIN and MAX instead.")
@click.option(
    "--queues",
    metavar="LIST",
    default=",".join(CLASSES),
    show_default=True,
    help="The kinds of files to work on.",
)
@log_level_option("INFO")
def worker(concurrency: int, autoscale: str | None, queues: str, loglevel: str) -> None:
    """Take tasks from a broker until stopped.

    On SIGTERM, it finishes the current shard for at most ANYMODAL_SHUTDOWN_S seconds; after that,
    another worker takes the shard over, as happens within seconds when a worker dies.
    """
    from encoder.errors import InputError
    from workers.app import app
    from workers.config import current_settings
    from workers.observe import logs
    from workers.observe.metrics_server import serving
    from workers.observe.probes import SILENT_S, Probes, check_store

    settings = current_settings()
    if settings.broker.startswith("memory:"):
        raise InputError(
            "--broker", got="the in-process broker", wanted="a shared one: redis://host:6379/0"
        )
    pool = _pool(settings.store, concurrency, autoscale)
    words = [
        "--quiet",  # no banner: machines read the log too
        "worker",
        *pool,
        f"--queues={_queue_names(queues)}",
        f"--loglevel={loglevel}",
        f"--hostname=anymodal-{os.getpid()}@%h",  # workers on one machine need different names
        "--without-mingle",
    ]
    logs.set_up(settings.log_format, loglevel, [settings.broker, settings.store or ""])

    def collector() -> BrokerCollector:  # imported once the folder of the metrics is there
        from workers.jobs.broker_metrics import BrokerCollector

        return BrokerCollector(settings.broker, settings.queue_shards)

    def check_broker() -> None:
        from workers.tasks import held

        held().impatient_board.ping()

    # Without processes, the main one turns no timers while a task runs.
    silent_s = settings.task_timeout_s if pool == _SOLO else SILENT_S
    probes = Probes(check_broker, partial(check_store, settings.store), silent_s)
    with serving(settings, collector, probes):
        # adds the sweeper and the signals
        import workers.serving.worker_process  # noqa: F401

        app.worker_main(words)


def _pool(store: str | None, concurrency: int, autoscale: str | None) -> list[str]:
    from search.store.open import admits_others

    if not admits_others(store):  # tasks run in this process, one at a time
        return _SOLO
    size = f"--autoscale={autoscale}" if autoscale else f"--concurrency={concurrency}"
    return ["--pool=prefork", size]


def _queue_names(kinds: str) -> str:
    from encoder.errors import InputError

    names = [cost.strip() for cost in kinds.split(",") if cost.strip()]
    if not names or not set(names) <= set(CLASSES):
        raise InputError("--queues", got=repr(kinds), wanted=f"some of {','.join(CLASSES)}")
    return ",".join(["anymodal", *map(queue_name, names)])
