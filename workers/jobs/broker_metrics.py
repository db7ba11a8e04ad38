"""The broker's queues and jobs as metrics, read on each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from workers.jobs.board import JobBoard
from workers.jobs.redis_link import BrokerError
from workers.jobs.shard import PRIORITIES, queue_name
from workers.observe.metrics import describe
from workers.pipeline.files import CLASSES

_UP = describe(
    "anymodal_broker_up",
    "gauge",
    [],
    "1 if the broker answers; otherwise the other metrics are absent.",
)
_JOBS = describe("anymodal_jobs", "gauge", ["state"], "Jobs that have not ended.")
_OPEN = describe(
    "anymodal_shards_open", "gauge", [], "Shards of these jobs that were sent but are not done."
)
_HELD = describe(
    "anymodal_shards_held",
    "gauge",
    [],
    "Those that a worker holds or that wait for their next try.",
)
_QUEUED = describe("anymodal_queue_shards", "gauge", ["cost"], "Shards that wait in a queue.")
_FILLED = describe(
    "anymodal_queue_filled_ratio",
    "gauge",
    ["cost"],
    "The same, divided by ANYMODAL_QUEUE_SHARDS; at 1, the planner pauses.",
)
_JOB_STATES = ("planning", "running", "cancelling")


class BrokerCollector(Collector):
    """Reads the state of queues and jobs; safe in the threads of a web server."""

    def __init__(self, broker: str, queue_shards: int) -> None:
        self._board = JobBoard(broker, patience_s=0.0)
        self._queue_shards = queue_shards

    def collect(self) -> Iterator[Metric]:
        """All gauges; only ``up 0`` while the broker does not answer."""
        try:
            read = [*self._jobs(), *self._queues()]
        except BrokerError:
            yield _gauge(_UP, [((), 0)])
        else:
            yield _gauge(_UP, [((), 1)])
            yield from read

    def _jobs(self) -> Iterator[Metric]:
        jobs = self._board.unfinished()
        states = Counter(job.state for job in jobs)
        yield _gauge(_JOBS, [((state,), states[state]) for state in _JOB_STATES])
        yield _gauge(_OPEN, [((), sum(job.open_shards for job in jobs))])
        yield _gauge(_HELD, [((), sum(job.shards_at_work for job in jobs))])

    def _queues(self) -> Iterator[Metric]:
        depths = {
            cost: self._board.depth([queue_name(cost)], PRIORITIES.values()) for cost in CLASSES
        }
        yield _gauge(_QUEUED, [((cost,), n) for cost, n in depths.items()])
        filled = [((cost,), n / self._queue_shards) for cost, n in depths.items()]
        yield _gauge(_FILLED, filled)


def _gauge(
    described: tuple[str, str, Sequence[str]], samples: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    name, meaning, labels = described
    gauge = GaugeMetricFamily(name, meaning, labels=labels)
    for values, number in samples:
        gauge.add_metric(values, number)
    return gauge
