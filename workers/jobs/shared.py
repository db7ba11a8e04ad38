"""The boards of this process, on the broker that the settings name."""

from __future__ import annotations

from functools import cache

from workers.config import current_settings
from workers.jobs.board import JobBoard


@cache
def shared_board() -> JobBoard:
    """A board that waits for a broker that is away."""
    settings = current_settings()
    return JobBoard(settings.broker, ttl_s=settings.job_ttl_s, lease_s=settings.lease_s)


@cache
def impatient_board() -> JobBoard:
    """A board for which a broker that is away is an error at once."""
    settings = current_settings()
    return JobBoard(
        settings.broker, ttl_s=settings.job_ttl_s, lease_s=settings.lease_s, patience_s=0.0
    )
