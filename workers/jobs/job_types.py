"""Shards, dead letters, and how a job stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ingest.types import Failure
from search.types import JsonValue

Labels: TypeAlias = Mapping[str, JsonValue]
"""Tags and metadata that a user gives to files, by the names of `AssetRow.metadata`."""

DeadLetter: TypeAlias = Failure
"""A file that was set aside: it cannot be ingested as it is."""


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
    """The job's span (`workers.observe.tracing.carrier`), to which those of the shard belong."""
    folders: list[str] = field(default_factory=list)
    """Instead of files: the job's folders, whose stored files may be gone. The last shard."""
    prune: bool = False
    """Whether assets without any file are removed."""


@dataclass(frozen=True)
class Claim:
    """A shard that was taken."""

    shard: Shard
    crashes: int = 0
    """How often a worker took it and then fell silent."""
    failures: int = 0
    """How often it was given back with an error that counts."""
    taken_over: bool = False
    """Whether the worker that held it fell silent."""


@dataclass(frozen=True)
class JobView:
    """A job at one moment. Times are seconds since 1970, the clocks those of the broker."""

    job_id: str
    state: str
    """``planning``, ``running``, ``done``, ``cancelling`` (what is under way is finished and
    counted), ``cancelled`` or ``failed`` (nobody can find the rest of its files)."""
    now: float
    created: float
    updated: float
    finished: float | None
    planner: str
    """Who finds the files; nothing before one has begun."""
    planner_until: float
    """Until when the planner is trusted to be alive."""
    priority: str
    paths: list[str]
    n_files: int
    ingested: int
    unchanged: int
    failed: int
    n_bytes: int
    open_shards: int
    shards_at_work: int
    segments: Mapping[str, int] = field(default_factory=dict)
    stage_s: Mapping[str, float] = field(default_factory=dict)
    labels: Labels = field(default_factory=dict)
    reason: str = ""
    """Why it failed."""
    declined: Mapping[str, str] = field(default_factory=dict)
    """The workers that cannot plan it, and why."""
    waits_for: str = ""
    """Why the last shard was given back: a disk that is full."""
    prune: bool = False
    """Whether assets without any file are removed at its end."""
    gone: Mapping[str, int] = field(default_factory=dict)
    """See `workers.pipeline.reports.Gone`."""

    @property
    def n_done(self) -> int:
        """Files that were looked at."""
        return self.ingested + self.unchanged + self.failed

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ("done", "cancelled", "failed")

    @property
    def planner_lost(self) -> bool:
        """Whether the process that finds the files has fallen silent before it was through."""
        return self.state == "planning" and self.now >= self.planner_until

    @property
    def seconds(self) -> float:
        """From its beginning to its end, or to now."""
        return max((self.finished or self.now) - self.created, 1e-3)

    @property
    def left_s(self) -> float | None:
        """The rest at the rate so far; None unless all files are found and some are done."""
        if self.state != "running" or not self.n_done:
            return None
        return self.seconds / self.n_done * max(self.n_files - self.n_done, 0)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "id": self.job_id,
            "state": self.state,
            "planner_lost": self.planner_lost,
            "declined": dict(self.declined) if self.planner_lost else {},
            "reason": self.reason,
            "waits_for": self.waits_for,
            "priority": self.priority,
            "paths": self.paths,
            "labels": dict(self.labels),
            "prune": self.prune,
            "created": round(self.created, 3),
            "finished": round(self.finished, 3) if self.finished else None,
            "seconds": round(self.seconds, 3),
            "left_s": round(self.left_s, 1) if self.left_s is not None else None,
            "files": self.n_files,
            "ingested": self.ingested,
            "unchanged": self.unchanged,
            "failed": self.failed,
            **{name: self.gone.get(name, 0) for name in ("dropped", "gone", "pruned")},
            "bytes": self.n_bytes,
            "open_shards": self.open_shards,
            "shards_at_work": self.shards_at_work,
            "segments": dict(sorted(self.segments.items())),
            "segments_per_s": {
                kind: round(n / self.seconds, 2) for kind, n in sorted(self.segments.items())
            },
            "stage_s": dict(self.stage_s),
        }

    @classmethod
    def read(
        cls,
        job_id: str,
        facts: Mapping[str, str],
        now: float,
        n_open: int,
        n_leased: int,
        n_failed: int,
    ) -> JobView:
        """From the hash that `workers.jobs.board` keeps."""

        def number(name: str) -> float:
            return float(facts.get(name, 0))

        def group(prefix: str) -> dict[str, str]:
            return {
                name.removeprefix(prefix): value
                for name, value in facts.items()
                if name.startswith(prefix)
            }

        return cls(
            job_id,
            facts.get("state", "cancelled"),
            now,
            number("created"),
            number("updated"),
            number("finished") or None,
            facts.get("planner", ""),
            number("planner_until"),
            facts.get("priority", "normal"),
            json.loads(facts.get("paths", "[]")),
            int(number("files")),
            int(number("ingested")),
            int(number("unchanged")),
            n_failed,
            int(number("bytes")),
            n_open,
            n_leased,
            {kind: int(float(n)) for kind, n in group("segments:").items()},
            {stage: round(float(s), 4) for stage, s in group("stage:").items()},
            json.loads(facts.get("labels", "{}")),
            facts.get("reason", ""),
            group("declined:"),
            facts.get("waits_for", ""),
            facts.get("prune") == "1",
            {name: int(float(n)) for name, n in group("gone:").items()},
        )
