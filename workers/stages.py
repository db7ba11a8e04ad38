"""The report of a shard in the making, watched stage by stage."""

from __future__ import annotations

from workers import metrics
from workers.reports import IngestReport


class WatchedReport(IngestReport):
    """A report whose stages are figures for Prometheus as they end."""

    def spend(self, stage: str, seconds: float) -> None:
        """Add seconds to a stage."""
        super().spend(stage, seconds)
        metrics.STAGE_S.labels(stage).observe(seconds)
