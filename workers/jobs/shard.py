"""Shards, the files of a job that one task ingests together, and the queues they wait in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from search.types import IngestRequest
from workers.pipeline.files import CLASSES

PRIORITIES = {"interactive": 0, "normal": 3, "bulk": 6}
"""By name; a lower number is served first."""


def queue_name(cost: str) -> str:
    """The broker's queue for a cost class: each has its own, so that no text waits for a film."""
    return f"anymodal.{cost}"


QUEUES = tuple(map(queue_name, CLASSES))
"""The names of all queues."""


@dataclass(frozen=True)
class Shard:
    """Files that one task ingests together."""

    cost: str
    """The cost class, which names the queue."""
    request: IngestRequest
    """The job's, of these files alone."""
    trace: dict[str, str] = field(default_factory=dict)
    """The job's span (`workers.observe.tracing.carrier`), the parent of the shard's."""
    folders: list[str] = field(default_factory=list)
    """The job's folders, whose stored files may be gone. Only the last shard has these, and no
    files."""

    @property
    def paths(self) -> Sequence[str]:
        return self.request.paths

    def of(self, paths: Sequence[str]) -> Shard:
        """The same for other files."""
        return replace(self, request=replace(self.request, paths=paths))

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Shard:
        facts = json.loads(text)
        return cls(**{**facts, "request": IngestRequest(**facts["request"])})


@dataclass(frozen=True)
class Claim:
    shard: Shard
    crashes: int = 0
    """How often a worker took it and never came back."""
    failures: int = 0
    """How often it was given back with an error that counts."""
    taken_over: bool = False
    """Whether the worker that held it fell silent."""
