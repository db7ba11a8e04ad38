"""The metrics of a worker; docs/observability.md explains each.

With ``PROMETHEUS_MULTIPROC_DIR`` in the environment when this is first imported
(`metrics_server` sets it), each process writes its figures into files of that folder, and the main
process adds them up. Otherwise they stay in this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values
from prometheus_client.multiprocess import mark_process_dead

from encoder.system.environment import variable
from search.latency import ITEMS, SECONDS
from workers.observe.metrics_server import FOLDER

_MAIN = "main"


def _process_name() -> str:
    """The place of this process in the worker's pool.

    It is not the process id: a replacement continues the files of its predecessor, so that counts
    continue and there are never more files than processes.
    """
    from billiard.process import current_process  # Celery's; a pipeline on its own needs none

    index = getattr(current_process(), "index", None)
    return _MAIN if index is None else f"child{index}"


if variable(FOLDER):
    values.ValueClass = values.MultiProcessValue(_process_name)

REGISTRY = CollectorRegistry()


@dataclass(frozen=True)
class MetricDescription:
    name: str
    metric_type: str
    labels: tuple[str, ...]
    meaning: str


DESCRIPTIONS: list[MetricDescription] = []
"""All metrics of a worker, in the order of the documentation."""


def describe(
    name: str, metric_type: str, labels: Sequence[str], meaning: str
) -> tuple[str, str, Sequence[str]]:
    """Register a metric; return the arguments to create it with."""
    DESCRIPTIONS.append(MetricDescription(name, metric_type, tuple(labels), meaning))
    return name, meaning, labels


def _counter(name: str, labels: Sequence[str], meaning: str) -> Counter:
    return Counter(*describe(name, "counter", labels, meaning), registry=REGISTRY)


def _histogram(
    name: str, labels: Sequence[str], meaning: str, buckets: Sequence[float] = SECONDS
) -> Histogram:
    described = describe(name, "histogram", labels, meaning)
    return Histogram(*described, registry=REGISTRY, buckets=buckets)


TASKS = _counter(
    "anymodal_tasks_total",
    ["outcome"],
    "Shards delivered to this worker, by outcome: done, left (done or held elsewhere), "
    "waits (tried again later), divided, set_aside, error.",
)
ACTIVE = Gauge(
    *describe("anymodal_tasks_active", "gauge", [], "Shards in progress."),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
SHARD_S = _histogram(
    "anymodal_shard_seconds", ["cost"], "How long a shard took, by its cost class."
)
LOST = _counter(
    "anymodal_leases_lost_total",
    [],
    "Shards that this worker took over from one that died or fell silent.",
)
RESENT = _counter(
    "anymodal_shards_resent_total",
    ["reason"],
    "Shards that this worker's sweeper sent again: lease_ended, wait_over, message_lost.",
)
FILES = _counter(
    "anymodal_files_total",
    ["outcome"],
    "Files counted into jobs: ingested, unchanged, left_out, failed.",
)
BYTES = _counter("anymodal_ingested_bytes_total", [], "The size of the files that were ingested.")
SEGMENTS = _counter("anymodal_segments_total", ["modality"], "Segments that were stored.")
DEAD_LETTERS = _counter(
    "anymodal_dead_letters_total", ["error"], "Files that were set aside, by the kind of error."
)
STAGE_S = _histogram(
    "anymodal_stage_seconds",
    ["stage"],
    "How long a stage took: decode per file, encode per batch, others per shard.",
)
STORE_WRITE_S = _histogram(
    "anymodal_store_write_seconds",
    [],
    "How long the store took to acknowledge the rows of a shard.",
)
BATCH_ITEMS = _histogram(
    "anymodal_batch_items",
    ["modality"],
    "How many items ran through a tower together.",
    ITEMS,
)
TOKENS = _counter(
    "anymodal_tokens_total", [], "Tokens of text that went into the encoder, without padding."
)
KEPT_TOKENS = _counter(
    "anymodal_kept_tokens_total", [], "Those that were left after the last layer, merged or not."
)
MODEL_LOAD_S = Summary(
    *describe(
        "anymodal_model_load_seconds",
        "summary",
        ["part"],
        "How long the model, or a tower on its first use, took to load; its count is the loads.",
    ),
    registry=REGISTRY,
)


def forget_predecessor() -> None:
    """Mark the predecessor of this pool process as dead, before counting."""
    if variable(FOLDER) and _process_name() != _MAIN:
        mark_process_dead(_process_name())


@dataclass
class Task:
    outcome: str = "error"


@contextmanager
def task() -> Iterator[Task]:
    """Count the task of this block, which sets the outcome."""
    running = Task()
    with ACTIVE.track_inprogress():
        try:
            yield running
        finally:
            TASKS.labels(running.outcome.replace(" ", "_")).inc()


class CountedEncoder:
    """An `encoder.towers.base.EncoderObserver` that counts."""

    def loaded(self, model_part: str, seconds: float) -> None:
        MODEL_LOAD_S.labels(model_part).observe(seconds)

    def encoded(self, modality: str, lengths: Sequence[int], kept: int) -> None:
        BATCH_ITEMS.labels(modality).observe(len(lengths))
        if modality == "text":
            TOKENS.inc(sum(lengths))
            KEPT_TOKENS.inc(kept)
