"""The report of a shard in the making, watched stage by stage."""

from __future__ import annotations

import logging

from workers import metrics
from workers.reports import IngestReport

logger = logging.getLogger(__name__)


class WatchedReport(IngestReport):
    """A report whose stages are figures for Prometheus as they end, and whose failures are logged.

    At the level of information, since a command that waits for the report shows them itself.
    """

    def fail(self, uri: str, error: Exception) -> None:
        """Set a file aside with its reason."""
        super().fail(uri, error)
        failure = self.failures[-1]
        logger.info("set aside %s: %s: %s", failure.uri, failure.error, failure.reason)

    def spend(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        super().spend(stage, seconds)
        metrics.STAGE_S.labels(stage).observe(seconds)
