"""Limit the time to decode one file."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from encoder.errors import MediaLimitError

if TYPE_CHECKING:
    from ingest.config import IngestConfig
    from ingest.types import Segment


class Clock:
    """Counts the seconds spent on one file: at most ``max_decode_s`` more than its duration.

    Args:
        uri: which file, for messages.
        config: holds the limit.
        plays_s: its duration according to the header; 0 if unknown.
    """

    def __init__(self, uri: str, config: IngestConfig, plays_s: float = 0.0) -> None:
        self._uri = uri
        self._config = config
        self._plays_s = plays_s
        self._spent_s = 0.0

    @property
    def left_s(self) -> float:
        """The seconds left; negative once the time is up."""
        return self._config.max_decode_s + self._plays_s - self._spent_s

    def spend(self, seconds: float) -> None:
        """Count seconds.

        Raises:
            MediaLimitError: the time is up.
        """
        self._spent_s += seconds
        if self.left_s < 0:
            raise MediaLimitError(
                f"{self._uri} was not decoded in {self._spent_s:,.1f} s; max_decode_s is "
                f"{self._config.max_decode_s:g} s, and it plays for {self._plays_s:,.0f} s.",
                remedy="Raise IngestConfig.max_decode_s or ANYMODAL_INGEST__MAX_DECODE_S.",
            )

    def has_played(self, seconds: float) -> None:
        """Extend the limit to the decoded duration, since headers may lack one."""
        self._plays_s = max(self._plays_s, min(seconds, self._config.max_duration_s))


def timed(segments: Iterator[Segment], clock: Clock) -> Iterator[Segment]:
    """The same segments; the time to make each is counted."""
    while True:
        started = perf_counter()
        segment = next(segments, None)
        if segment is None:
            return
        clock.has_played(segment.end_s or 0.0)
        clock.spend(perf_counter() - started)
        yield segment
