"""The shards of jobs: which are open, who holds one until when, and how often they were tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from workers.jobs import redis_scripts as lua
from workers.jobs.redis_link import RedisLink, key
from workers.jobs.shard import Claim, Shard
from workers.pipeline.reports import IngestReport


class ShardBoard:
    """Shards by the id of their job and their own id."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def add(self, job_id: str, shard_id: str, shard: Shard, planner: str) -> bool:
        """Open a shard; False if the job takes no more, or no more from this planner."""
        last = json.dumps(shard.paths[-1])
        facts = (shard_id, shard.dumps(), len(shard.paths), planner, shard.cost, last)
        return bool(self._link.run(lua.ADD, job_id, *facts))

    def revive(self, job_id: str, shard_id: str, shard: Shard, letters: Sequence[str]) -> None:
        """Make a shard of dead letters."""
        self._link.run(lua.REVIVE, job_id, shard_id, shard.dumps(), json.dumps(list(letters)))

    def claim(self, job_id: str, shard_id: str) -> Claim | None:
        """Take a shard; None if it is done, dropped or held."""
        claimed = self._link.run(lua.CLAIM, job_id, shard_id, self._link.lease_s)
        if not claimed:
            return None
        payload, taken, failures, taken_over = claimed
        return Claim(Shard.loads(payload), taken - 1, int(failures), bool(taken_over))

    def beat(self, job_id: str, shard_id: str) -> bool:
        """Keep the lease; False if the shard is no longer open, or its job was cancelled.

        Does not wait for the broker.
        """
        return bool(self._link.run_once(lua.BEAT, job_id, shard_id, self._link.lease_s))

    def begun(self, job_id: str, shard_id: str, asset_ids: Sequence[str]) -> set[str]:
        """Note the contents that a shard is about to store; return those noted at its first try."""
        begun = key(job_id, "begun")
        redis = self._link.redis

        def note() -> set[str]:
            redis.hsetnx(begun, shard_id, json.dumps(list(asset_ids)))
            return set(json.loads(redis.hget(begun, shard_id) or "[]"))

        return self._link.patiently(note)

    def release(
        self, job_id: str, shard_id: str, wait_s: float, *, forgive: bool = False, why: str = ""
    ) -> None:
        """Give a shard back, to be tried again after a while.

        Args:
            forgive: do not count this try.
            why: shown with the job until a shard of it is done.
        """
        self._link.run(lua.RELEASE, job_id, shard_id, wait_s, int(forgive), why)

    def finish(
        self,
        job_id: str,
        shard_id: str,
        report: IngestReport,
        parts: Mapping[str, Shard] | None = None,
    ) -> bool:
        """Count a shard and close it, once; ``parts`` are opened in its place."""
        counts = {
            "ingested": report.ingested,
            "unchanged": report.unchanged,
            "left_out": report.left_out,
            "bytes": report.n_bytes,
            **{f"segments:{modality}": n for modality, n in report.segments.items()},
            **{f"gone:{name}": n for name, n in report.gone.items()},
            **{f"stage:{stage}": round(s, 4) for stage, s in report.stage_s.items()},
        }
        failed = {failure.uri: json.dumps(asdict(failure)) for failure in report.failures}
        opened = {part_id: shard.dumps() for part_id, shard in (parts or {}).items()}
        arguments = [json.dumps(facts) for facts in (counts, failed, opened)]
        return bool(self._link.run(lua.FINISH, job_id, shard_id, *arguments))

    def due(self, job_id: str) -> dict[str, bool]:
        """Shards whose time is over, each given to one caller only.

        True: its worker fell silent. False: its wait for the next try has ended.
        """
        return {shard: bool(is_held) for shard, is_held in self._link.run_once(lua.DUE, job_id)}

    def open(self, job_id: str) -> dict[str, Shard]:
        """All shards that are not finished."""
        payloads = self._link.redis.hgetall(key(job_id, "open"))
        return {shard: Shard.loads(payload) for shard, payload in payloads.items()}

    def leased(self, job_id: str) -> set[str]:
        """The shards that are held or that wait for their next try."""
        return set(self._link.redis.zrange(key(job_id, "lease"), 0, -1))
