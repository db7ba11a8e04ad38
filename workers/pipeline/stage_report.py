"""The report of a shard in progress, watched stage by stage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from workers.observe import metrics, tracing
from workers.pipeline.reports import IngestReport

logger = logging.getLogger(__name__)


class WatchedReport(IngestReport):
    """A report whose stages are figures for Prometheus and spans, and whose failures are logged.

    They are logged as information, since a command that waits for the report shows them itself.
    """

    def fail(self, uri: str, error: Exception) -> None:
        """Set a file aside with its reason."""
        before = len(self.failures)
        super().fail(uri, error)
        for failure in self.failures[before:]:
            logger.info("set aside %s: %s: %s", failure.uri, failure.error, failure.reason)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of the block to a stage; it is a span too."""
        with tracing.span(stage), super().timed(stage):
            yield

    def spend(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        super().spend(stage, seconds)
        metrics.STAGE_S.labels(stage).observe(seconds)
