"""What a server and its search processes exchange.

Messages are pickled: both ends are this program, of one user, over a socket that nobody else has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from encoder.errors import AnymodalError
from encoder.types import Modality
from search.query.query import Query
from search.types import SearchResult
from workers.config import Settings


class Opening(NamedTuple):
    """The first message of a server."""

    settings: Settings
    log_level: str
    rest_s: float


class Opened(NamedTuple):
    """The answer to it: the process is ready, with this model."""

    model: str


class Task(NamedTuple):
    """A query to answer within so many seconds; None cancels the task of that number."""

    number: int
    query: Query | None
    left_s: float | None = None


class Outcome(NamedTuple):
    """How a task ended, and what was counted since the outcome before."""

    number: int
    result: SearchResult | AnymodalError | None
    """None if the process failed; its log says why."""
    batches: Sequence[tuple[Modality, int]]
    """The modality and size of each batch of queries that was encoded."""
    n_cached: int
    n_encoded: int
