"""Shards, the files of a job that one task ingests together, and the queues they wait in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from search.types import JsonValue, Labels, Prune
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
    paths: list[str]
    priority: int = 3
    """0 is served first."""
    labels: Labels = field(default_factory=dict)
    trace: dict[str, str] = field(default_factory=dict)
    """The job's span (`workers.observe.tracing.carrier`), the parent of the shard's."""
    folders: list[str] = field(default_factory=list)
    """The job's folders, whose stored files may be gone. Only the last shard has these, and no
    files."""
    prune: Prune = False
    """Which assets without any file are removed."""
    kinds: list[str] = field(default_factory=list)
    """The kinds of files that were requested; empty for all."""
    verify: bool = False
    """Whether files are read again whose size and time are as stored."""
    within: Mapping[str, JsonValue] | None = None
    """See `search.types.IngestRequest`."""

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Shard:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Claim:
    shard: Shard
    crashes: int = 0
    """How often a worker took it and never came back."""
    failures: int = 0
    """How often it was given back with an error that counts."""
    taken_over: bool = False
    """Whether the worker that held it fell silent."""
