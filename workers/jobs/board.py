"""The state of jobs in Redis: what is open, who holds it, what was counted, what was set aside.

It is a plan and a tally, and it expires. Only the store knows what is stored (by its commit rows),
so losing a board costs a second run, in which stored files are skipped, and nothing else.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ingest.kinds.registry import check_names
from ingest.types import Failure
from search.errors import NotFoundError
from search.jobs import Job
from search.types import IngestRequest
from workers.jobs import redis_scripts as lua
from workers.jobs.leases import START_S, Locks, PlannerLeases
from workers.jobs.redis_link import JOBS, RUNNING, RedisLink, key, keys_of
from workers.jobs.shard import Claim, Shard
from workers.pipeline.reports import IngestReport

if TYPE_CHECKING:
    from workers.config import Settings

_MOST_JOBS = 1000


class ShardBoard:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def add(self, job_id: str, shard_id: str, shard: Shard, planner: str) -> bool:
        """Open a shard; False if the job takes no more, or no more from this planner."""
        last = json.dumps(shard.paths[-1])
        facts = (shard_id, shard.dumps(), len(shard.paths), planner, shard.cost, last)
        return bool(self._link.run(lua.ADD, job_id, *facts))

    def revive(self, job_id: str, shard_id: str, shard: Shard, letters: Sequence[str]) -> None:
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
            **{f"limit:{what}": n for what, n in report.limits.items()},
            **{f"tokens:{what}": n for what, n in report.tokens.items()},
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
        payloads = self._link.redis.hgetall(key(job_id, "open"))
        return {shard: Shard.loads(payload) for shard, payload in payloads.items()}

    def leased(self, job_id: str) -> set[str]:
        """The shards that are held or that wait for their next try."""
        return set(self._link.redis.zrange(key(job_id, "lease"), 0, -1))


class JobBoard:
    """Jobs by id, their shards, planners and locks.

    Args:
        url: ``redis://[user:password@]host:port/db``.
        ttl_s: how long a job is kept after its last change.
        lease_s: how long a silent worker or planner is trusted to be alive.
        patience_s: how long to wait for a broker that is away.

    Raises:
        InputError: not a Redis URL.
    """

    def __init__(
        self, url: str, *, ttl_s: int = 7 * 86400, lease_s: float = 8.0, patience_s: float = 600.0
    ) -> None:
        self.link = RedisLink(url, ttl_s=ttl_s, lease_s=lease_s, patience_s=patience_s)
        self.lease_s = lease_s
        self.shards = ShardBoard(self.link)
        self.planners = PlannerLeases(self.link)
        self.locks = Locks(self.link, url)

    @classmethod
    def of(cls, settings: Settings, *, patience_s: float = 600.0) -> JobBoard:
        return cls(
            settings.broker,
            lease_s=settings.lease_s,
            patience_s=patience_s,
        )

    def create(self, request: IngestRequest, start_s: float | None = None) -> str:
        """A new job; its id.

        ``start_s``: see `restart`; by default one lease, as for a planner in this process.

        Raises:
            InputError: there is no such kind.
        """
        check_names(request.kinds)
        job_id = uuid.uuid4().hex[:12]
        self.restart(job_id, request, start_s or self.lease_s)
        return job_id

    def restart(self, job_id: str, request: IngestRequest, start_s: float = START_S) -> None:
        """Plan a job from its beginning; what is stored already will count as unchanged."""
        now_s = self.link.now()
        facts = {
            "state": "planning",
            "created": now_s,
            "updated": now_s,
            "planner": "",
            "planner_until": now_s + start_s,
            "request": json.dumps(asdict(request)),
        }

        def write() -> None:
            with self.link.redis.pipeline() as pipe:
                pipe.delete(*keys_of(job_id))
                pipe.hset(key(job_id), mapping=facts)
                pipe.expire(key(job_id), self.link.ttl_s)
                pipe.zadd(JOBS, {job_id: now_s})
                pipe.sadd(RUNNING, job_id)
                pipe.execute()

        self.link.patiently(write)

    def status(self, job_id: str) -> Job:
        """The state of a job.

        Raises:
            NotFoundError: there is no such job.
        """
        job = self._read(job_id)
        if job is None:
            raise NotFoundError(f"There is no job {job_id!r}.", "See GET /v1/jobs.")
        return job

    def recent(self) -> list[Job]:
        """The jobs that have not expired, newest first."""
        redis = self.link.redis
        job_ids = self.link.patiently(lambda: redis.zrevrange(JOBS, 0, _MOST_JOBS - 1))
        jobs = [(job_id, self._read(job_id)) for job_id in job_ids]
        for job_id, job in jobs:
            if job is None:
                redis.zrem(JOBS, job_id)
                redis.srem(RUNNING, job_id)
        return [job for _, job in jobs if job]

    def running(self) -> list[str]:
        return sorted(self.link.patiently(lambda: self.link.redis.smembers(RUNNING)))

    def unfinished(self) -> list[Job]:
        return [job for job in map(self._read, self.running()) if job]

    def refuse(self, job_id: str, failure: Failure) -> None:
        """Set a file aside that no shard will hold."""
        self.link.run(lua.REFUSE, job_id, failure.uri, json.dumps(asdict(failure)))

    def failures(self, job_id: str) -> Iterator[Failure]:
        """The files that were set aside (dead letters), streamed."""
        letters = self.link.redis.hscan_iter(key(job_id, "failed"), count=500)
        for _, letter in letters:
            yield Failure(**json.loads(letter))

    def cancel(self, job_id: str) -> bool:
        """Drop what has not begun; False if the job had ended.

        The job is ``cancelling`` until shards under way have ended and are counted, then
        ``cancelled``. Raises NotFoundError.
        """
        self.status(job_id)
        return bool(self.link.run(lua.CANCEL, job_id))

    def ping(self) -> None:
        """Return if the broker answers.

        Raises:
            BrokerError: it does not, for longer than ``patience_s``.
        """
        self.link.patiently(self.link.redis.ping)

    def depth(self, queues: Iterable[str], priorities: Iterable[int]) -> int:
        names = [
            queue if not priority else f"{queue}\x06\x16{priority}"
            for queue in queues
            for priority in priorities
        ]

        def count() -> int:
            with self.link.redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.llen(name)
                return sum(pipe.execute())

        return self.link.patiently(count)

    def _read(self, job_id: str) -> Job | None:
        def read() -> Any:
            with self.link.redis.pipeline() as pipe:
                pipe.hgetall(key(job_id))
                pipe.hlen(key(job_id, "open"))
                pipe.zcard(key(job_id, "lease"))
                pipe.hlen(key(job_id, "failed"))
                pipe.time()
                return pipe.execute()

        facts, n_open, n_leased, n_failed, (seconds, micros) = self.link.patiently(read)
        counts = {"open_shards": n_open, "shards_at_work": n_leased, "failed": n_failed}
        return _job(job_id, facts, seconds + micros / 1e6, counts) if facts else None


def _job(job_id: str, facts: Mapping[str, str], now_s: float, counts: Mapping[str, int]) -> Job:
    def number(name: str) -> float:
        return float(facts.get(name, 0))

    def group(prefix: str) -> dict[str, str]:
        return {
            name.removeprefix(prefix): value
            for name, value in facts.items()
            if name.startswith(prefix)
        }

    return Job(
        job_id,
        facts.get("state", "cancelled"),
        now_s,
        number("created"),
        number("finished") or None,
        IngestRequest(**json.loads(facts["request"])) if "request" in facts else IngestRequest(()),
        n_files=int(number("files")),
        ingested=int(number("ingested")),
        unchanged=int(number("unchanged")),
        left_out=int(number("left_out")),
        n_bytes=int(number("bytes")),
        segments={modality: int(float(n)) for modality, n in group("segments:").items()},
        stage_s={stage: round(float(s), 4) for stage, s in group("stage:").items()},
        gone={name: int(float(n)) for name, n in group("gone:").items()},
        limits={what: int(float(n)) for what, n in group("limit:").items()},
        tokens={what: int(float(n)) for what, n in group("tokens:").items()},
        reason=facts.get("reason", ""),
        waits_for=facts.get("waits_for", ""),
        planner=facts.get("planner", ""),
        planner_until=number("planner_until"),
        declined=group("declined:"),
        **counts,
    )
