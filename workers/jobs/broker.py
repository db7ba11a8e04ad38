"""The broker as Celery sees it: whether it answers, and messages to the queues."""

from __future__ import annotations

import time
from functools import partial

from search.store.milvus.link import without_password
from workers.app import app
from workers.jobs.redis_link import BrokerError
from workers.jobs.shard import PRIORITIES, Shard, queue_name
from workers.observe.logs import clean


def check_broker(timeout_s: float = 5.0) -> None:
    """Connect once.

    Raises:
        BrokerError: nobody answers within ``timeout_s``.
    """
    from kombu.exceptions import OperationalError

    url = without_password(app.conf.broker_url)
    try:
        with app.connection_for_write(connect_timeout=timeout_s) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout_s)
    except (OperationalError, OSError) as error:
        raise BrokerError(
            f"The broker {url} does not answer: {clean(str(error))}.",
            "Start it, or leave --broker out to do the work in this process.",
        ) from error


def n_workers() -> int:
    return len(app.control.ping(timeout=1.0))


def publish(job_id: str, shard_id: str, shard: Shard, patience_s: float = 600.0) -> None:
    """Send a shard's message to the workers, and wait for a broker that is away.

    A message may be sent twice; the second finds the shard done or held.
    """
    from kombu.exceptions import OperationalError

    deadline = time.monotonic() + patience_s
    while True:
        try:
            app.send_task(
                "anymodal.run_shard",
                (job_id, shard_id),
                queue=queue_name(shard.cost),
                priority=PRIORITIES[shard.request.priority],
                headers=shard.trace,
                retry=False,
                ignore_result=True,
            )
            return
        except (OperationalError, OSError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)


publish_now = partial(publish, patience_s=0.0)
"""For a main process that has other things to do: fails at once."""
