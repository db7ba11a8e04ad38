"""Feed shards to the tasks, a few at a time, and collect their reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from encoder.errors import DiskError
from workers.jobs.job_types import Labels
from workers.pipeline.reports import IngestReport
from workers.tasks import ingest_shard

_POLL_S = 0.05
_MAX_IN_FLIGHT = 3
"""Two for the threads of the embedded worker, one that is ready when they are."""


def run_shards(
    shards: Iterable[list[str]],
    *,
    on_report: Callable[[IngestReport], None],
    stopped: Callable[[], bool],
    labels: Labels | None = None,
    url_hosts: Sequence[str] | None = None,
) -> IngestReport:
    """Ingest all shards, with these labels; ``on_report`` is called after each.

    At most three shards wait or run, so the plan is never held in memory. Once
    ``stopped`` says so, no more are fed, and those under way are waited for.

    Raises:
        DiskError: nothing more can be stored; those under way were waited for.
    """
    total = IngestReport()
    hosts = None if url_hosts is None else list(url_hosts)
    waiting: dict[Any, list[str]] = {}
    refused: list[DiskError] = []

    def collect(at_most: int) -> None:
        while len(waiting) > at_most:
            for result in [r for r in waiting if r.ready()]:
                try:
                    report = _report_of(result, waiting.pop(result))
                except DiskError as error:
                    refused.append(error)
                    continue
                total.add(report)
                on_report(report)
            time.sleep(_POLL_S)

    for shard in shards:
        collect(_MAX_IN_FLIGHT - 1)
        if stopped() or refused:
            break
        waiting[ingest_shard.delay(shard, dict(labels or {}), hosts)] = shard
    collect(0)
    if refused:
        raise refused[0]
    return total


def _report_of(result: Any, shard: list[str]) -> IngestReport:
    """A shard whose task failed as a whole is reported file by file: nothing is lost silently.

    Raises:
        DiskError: by which it failed: so will all that come after.
    """
    try:
        report = IngestReport.from_json(result.get(timeout=10, disable_sync_subtasks=False))
    except DiskError:
        result.forget()
        raise
    except Exception as error:  # noqa: BLE001  whatever the task raised
        report = IngestReport()
        for path in shard:
            report.fail(path, error)
    result.forget()
    return report
