"""Counts and failures of an ingest."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

from ingest.errors import LeftOutError
from ingest.types import Failure
from workers.observe import metrics, tracing

logger = logging.getLogger(__name__)

_GONE = ("dropped", "gone", "pruned")


@dataclass
class IngestReport:
    """Counts, failures and the seconds of each stage (summed over threads and workers).

    Failures are logged as information, since a command that waits for the report shows them; stages
    are figures for Prometheus, and spans.
    """

    ingested: int = 0
    unchanged: int = 0
    left_out: int = 0
    """Files of kinds that were not requested."""
    n_bytes: int = 0
    segments: Counter[str] = field(default_factory=Counter)
    stage_s: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    gone: Counter[str] = field(default_factory=Counter)
    """Places of stored files that were ``dropped``, since the content is elsewhere too; assets that
    have no file (``gone``), or had none and were ``pruned``."""

    limits: Counter[str] = field(default_factory=Counter)
    """What the model cannot find (`TextServices.limits`), and how many stored files have such."""

    tokens: Counter[str] = field(default_factory=Counter)
    """Of texts: those that were ``encoded``, and those that the last layer ``kept``."""

    @property
    def n_files(self) -> int:
        return self.ingested + self.unchanged + self.left_out + len(self.failures)

    def fail(self, uri: str, error: Exception) -> None:
        """Set a file aside with its reason, or count it if its kind was not requested.

        Names that are not UTF-8 are escaped.
        """
        if isinstance(error, LeftOutError):
            self.left_out += 1
            return
        printable = os.fsencode(uri).decode(errors="backslashreplace")
        reason = str(error).encode(errors="backslashreplace").decode()
        self.failures.append(Failure(printable, type(error).__name__, reason))
        logger.info("set aside %s: %s: %s", printable, type(error).__name__, reason)

    def fail_all(self, uris: Iterable[str], error: Exception) -> None:
        for uri in uris:
            self.fail(uri, error)

    def fail_copies(self, copies: Iterable[Sequence[str]]) -> None:
        """Set further files aside with the reason of the first, whose content they share."""
        failed = {failure.uri: failure for failure in self.failures}
        for first, *copies_left in copies:
            for uri in copies_left if first in failed else ():
                if uri not in failed:
                    reason = failed[first].reason.replace(first, uri)
                    self.failures.append(replace(failed[first], uri=uri, reason=reason))

    def spend(self, stage: str, seconds: float) -> None:
        self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        metrics.STAGE_S.labels(stage).observe(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = perf_counter()
        with tracing.span(stage):
            try:
                yield
            finally:
                self.spend(stage, perf_counter() - started)

    def add(self, other: IngestReport) -> None:
        self.ingested += other.ingested
        self.unchanged += other.unchanged
        self.left_out += other.left_out
        self.n_bytes += other.n_bytes
        self.segments.update(other.segments)
        for stage, seconds in other.stage_s.items():
            self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        self.failures.extend(other.failures)
        self.gone.update(other.gone)
        self.limits.update(other.limits)
        self.tokens.update(other.tokens)

    def count(self) -> None:
        """Add it to this process's metrics."""
        metrics.FILES.labels("ingested").inc(self.ingested)
        metrics.FILES.labels("unchanged").inc(self.unchanged)
        metrics.FILES.labels("left_out").inc(self.left_out)
        metrics.FILES.labels("failed").inc(len(self.failures))
        metrics.BYTES.inc(self.n_bytes)
        for modality, n_segments in self.segments.items():
            metrics.SEGMENTS.labels(modality).inc(n_segments)
        for failure in self.failures:
            metrics.DEAD_LETTERS.labels(failure.error).inc()

    def as_json(self) -> dict[str, Any]:
        return {
            "ingested": self.ingested,
            "unchanged": self.unchanged,
            "left_out": self.left_out,
            "failed": len(self.failures),
            "bytes": self.n_bytes,
            "segments": dict(sorted(self.segments.items())),
            "stage_s": {stage: round(seconds, 4) for stage, seconds in self.stage_s.items()},
            **{name: self.gone[name] for name in _GONE},
            "limits": dict(self.limits),
            "tokens": dict(self.tokens),
            "failures": [asdict(failure) for failure in self.failures],
        }
