"""The state of jobs in Redis: what is open, who is at it, what was counted, what was set aside.

It is a plan and a tally, and it expires. What is stored is known by the store alone (its commit
rows), so a lost board costs a second run over files that are skipped, and nothing else.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from encoder.errors import InputError
from ingest.types import Failure
from workers.jobs import redis_scripts as lua
from workers.jobs.broker import BrokerError
from workers.jobs.job_types import Claim, DeadLetter, JobView, Labels, Shard
from workers.jobs.planning.leases import RUNNING, START_S, PlannerLeases
from workers.jobs.recovery.heartbeat import repeating
from workers.observe.logs import clean
from workers.pipeline.reports import IngestReport

T = TypeVar("T")

_JOBS = "anymodal:jobs"
_PARTS = ("open", "lease", "tries", "begun", "failed")
_LONGEST_COMMIT_S = 300
_MOST_JOBS = 1000


class JobBoard(PlannerLeases):
    """Jobs by id. Safe in threads and, since connections are made again, after a fork.

    Args:
        url: ``redis://[user:password@]host:port/db``.
        ttl_s: how long a job is kept after its last change.
        lease_s: how long a worker that says nothing is trusted to be alive.
        patience_s: how long a broker that is away is waited for.

    Raises:
        InputError: not a Redis URL.
    """

    def __init__(
        self, url: str, *, ttl_s: int = 7 * 86400, lease_s: float = 8.0, patience_s: float = 600.0
    ) -> None:
        import redis

        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise InputError("--broker", got=repr(clean(url)), wanted="redis://host:6379/0")
        self._redis: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5
        )
        self._ttl_s = ttl_s
        self.lease_s = lease_s
        self._patience_s = patience_s

    def create(
        self,
        paths: Sequence[str],
        *,
        priority: str = "normal",
        labels: Labels | None = None,
        prune: bool = False,
        start_s: float | None = None,
    ) -> str:
        """A new job over these files and folders, which get these labels; its id.

        ``start_s``: see `restart`; by default one lease, as for a planner in this process.
        """
        job_id = uuid.uuid4().hex[:12]
        self.restart(
            job_id,
            paths,
            priority=priority,
            labels=labels or {},
            prune=prune,
            start_s=start_s or self.lease_s,
        )
        return job_id

    def restart(
        self,
        job_id: str,
        paths: Sequence[str],
        *,
        priority: str,
        labels: Labels,
        prune: bool = False,
        start_s: float = START_S,
    ) -> None:
        """Plan a job from its beginning; what is stored already will be counted as unchanged.

        Args:
            job_id: its id.
            paths: what it is about.
            priority: of its shards.
            labels: of its files.
            prune: whether assets without any file are removed at its end.
            start_s: how long a planner may take to begin before a worker plans the job.
        """
        seconds, micros = self.patiently(self._redis.time)
        now = seconds + micros / 1e6
        facts = {
            "state": "planning",
            "created": now,
            "updated": now,
            "planner": "",
            "planner_until": now + start_s,
            "priority": priority,
            "paths": json.dumps(list(paths)),
            "labels": json.dumps(dict(labels)),
            "prune": int(prune),
        }

        def write() -> None:
            with self._redis.pipeline() as pipe:
                pipe.delete(*self._keys(job_id)[:6])
                pipe.hset(self._key(job_id), mapping=facts)
                pipe.expire(self._key(job_id), self._ttl_s)
                pipe.zadd(_JOBS, {job_id: now})
                pipe.sadd(RUNNING, job_id)
                pipe.execute()

        self.patiently(write)

    def add(self, job_id: str, shard_id: str, shard: Shard, planner: str) -> bool:
        """Open a shard; False if the job wants no more, or no more from this planner."""
        payload = json.dumps(asdict(shard))
        last = json.dumps(shard.paths[-1])
        facts = (shard_id, payload, len(shard.paths), planner, shard.cost, last)
        return bool(self._run(lua.ADD, job_id, *facts))

    def refuse(self, job_id: str, failure: Failure) -> None:
        """Set a file aside that no shard will hold."""
        self._run(lua.REFUSE, job_id, failure.uri, json.dumps(asdict(failure)))

    def planned(self, job_id: str, planner: str, last: Mapping[str, Shard] | None = None) -> bool:
        """Record that all shards were added, except ``last``, of which no file is counted."""
        opened = {name: json.dumps(asdict(shard)) for name, shard in (last or {}).items()}
        return bool(self._run(lua.PLANNED, job_id, planner, json.dumps(opened)))

    def claim(self, job_id: str, shard_id: str) -> Claim | None:
        """Take a shard; None if it is done, dropped or held."""
        found = self._run(lua.CLAIM, job_id, shard_id, self.lease_s)
        if not found:
            return None
        payload, taken, failures, taken_over = found
        return Claim(Shard(**json.loads(payload)), taken - 1, int(failures), bool(taken_over))

    def beat(self, job_id: str, shard_id: str) -> bool:
        """Keep the lease; False if the shard is no longer open. Does not wait for the broker."""
        return bool(self._script(lua.BEAT, job_id, shard_id, self.lease_s))

    def release(
        self, job_id: str, shard_id: str, wait_s: float, *, forgive: bool = False, why: str = ""
    ) -> None:
        """Give a shard back, to be tried again; ``forgive``: this try shall not count.

        ``why`` is shown with the job until a shard of it is done.
        """
        self._run(lua.RELEASE, job_id, shard_id, wait_s, int(forgive), why)

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
            "bytes": report.n_bytes,
            **{f"segments:{kind}": n for kind, n in report.segments.items()},
            **{f"gone:{name}": n for name, n in report.gone.items()},
            **{f"stage:{stage}": round(s, 4) for stage, s in report.stage_s.items()},
        }
        failed = {failure.uri: json.dumps(asdict(failure)) for failure in report.failures}
        opened = {part: json.dumps(asdict(shard)) for part, shard in (parts or {}).items()}
        arguments = [json.dumps(facts) for facts in (counts, failed, opened)]
        return bool(self._run(lua.FINISH, job_id, shard_id, *arguments))

    def begun(self, job_id: str, shard_id: str, asset_ids: Sequence[str]) -> set[str]:
        """Note the contents that a shard is about to store; those of its first try come back."""
        key = self._key(job_id, "begun")

        def note() -> set[str]:
            self._redis.hsetnx(key, shard_id, json.dumps(list(asset_ids)))
            return set(json.loads(self._redis.hget(key, shard_id) or "[]"))

        return self.patiently(note)

    def cancel(self, job_id: str) -> bool:
        """Drop what is not begun; False if the job had ended.

        The job is ``cancelling`` until what is under way is finished and counted, then
        ``cancelled``.
        """
        self.view(job_id)
        return bool(self._run(lua.CANCEL, job_id))

    def revive(self, job_id: str, shard_id: str, shard: Shard, letters: Sequence[str]) -> None:
        """Make a shard of dead letters."""
        payload = json.dumps(asdict(shard))
        self._run(lua.REVIVE, job_id, shard_id, payload, json.dumps(list(letters)))

    def due(self, job_id: str) -> dict[str, bool]:
        """Shards whose time is over, each given to one caller.

        True: its worker fell silent. False: its wait for the next try has ended.
        """
        return {shard: bool(held) for shard, held in self._script(lua.DUE, job_id, "")}

    def open_shards(self, job_id: str) -> dict[str, Shard]:
        """All that is not finished."""
        found = self._redis.hgetall(self._key(job_id, "open"))
        return {shard: Shard(**json.loads(payload)) for shard, payload in found.items()}

    def leased(self, job_id: str) -> set[str]:
        """The shards that someone is at, or that wait for their next try."""
        return set(self._redis.zrange(self._key(job_id, "lease"), 0, -1))

    def tries(self, job_id: str) -> dict[str, int]:
        """How often each open shard was taken and not given back."""
        found = self.patiently(lambda: self._redis.hgetall(self._key(job_id, "tries")))
        return {shard: int(n) for shard, n in found.items() if ":" not in shard}

    def running(self) -> list[str]:
        """The ids of jobs that have not ended."""
        return sorted(self._redis.smembers(RUNNING))

    def unfinished(self) -> list[JobView]:
        """How the jobs stand that have not ended."""
        running = self.patiently(lambda: self._redis.smembers(RUNNING))
        return [view for view in map(self._view, sorted(running)) if view]

    def ping(self) -> None:
        """Return if the broker answers.

        Raises:
            BrokerError: it does not, for longer than ``patience_s``.
        """
        self.patiently(self._redis.ping)

    def sweeping(self, for_s: float) -> bool:
        """Whether this caller is the one to sweep now."""
        return bool(self._redis.set("anymodal:sweep", "1", nx=True, px=int(for_s * 1000)))

    def jobs(self) -> list[JobView]:
        """The jobs that have not expired, newest first."""
        found = self.patiently(lambda: self._redis.zrevrange(_JOBS, 0, _MOST_JOBS - 1))
        views = [(job_id, self._view(job_id)) for job_id in found]
        for job_id, view in views:
            if view is None:
                self._redis.zrem(_JOBS, job_id)
                self._redis.srem(RUNNING, job_id)
        return [view for _, view in views if view]

    def view(self, job_id: str) -> JobView:
        """How a job stands.

        Raises:
            InputError: there is no such job.
        """
        view = self._view(job_id)
        if view is None:
            raise InputError(
                "ID", got=f"{job_id!r}, which is no job here", wanted="one of `anymodal jobs`"
            )
        return view

    def dead_letters(self, job_id: str) -> Iterator[DeadLetter]:
        """The files that were set aside, streamed."""
        found = self._redis.hscan_iter(self._key(job_id, "failed"), count=500)
        for _, letter in found:
            yield Failure(**json.loads(letter))

    def depth(self, queues: Iterable[str], priorities: Iterable[int]) -> int:
        """How many messages wait in these queues."""
        names = [
            queue if not priority else f"{queue}\x06\x16{priority}"
            for queue in queues
            for priority in priorities
        ]

        def count() -> int:
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.llen(name)
                return sum(pipe.execute())

        return self.patiently(count)

    @contextmanager
    def exclusive(self, asset_ids: Iterable[str]) -> Iterator[None]:
        """Hold these contents alone among all workers; a holder that dies loses them with time."""
        deadline = time.monotonic() + _LONGEST_COMMIT_S
        while True:
            with self._locked(sorted(set(asset_ids))) as is_taken:
                if is_taken:
                    yield
                    return
            if time.monotonic() > deadline:
                raise BrokerError("Another worker holds a content too long.", "Try again.")
            time.sleep(0.05)

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Whether no other worker is at something; if so, they are kept off until the block ends.

        A worker that dies keeps them off for as long as its lease lasts.
        """
        return self._locked([what])

    @contextmanager
    def _locked(self, names: Sequence[str]) -> Iterator[bool]:
        keys = [f"anymodal:lock:{name}" for name in names]
        token = uuid.uuid4().hex

        def take() -> bool:
            held_ms = int(self.lease_s * 1000)
            return not keys or bool(self._redis.eval(lua.LOCK, len(keys), *keys, token, held_ms))

        if not self.patiently(take):
            yield False
            return
        try:
            with repeating(take, self.lease_s / 4):
                yield True
        finally:
            if keys:
                self.patiently(lambda: self._redis.eval(lua.UNLOCK, len(keys), *keys, token))

    def patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call that changes nothing when repeated, until the broker is back.

        Raises:
            BrokerError: it stays away for longer than ``patience_s``.
        """
        from redis.exceptions import ConnectionError as Away
        from redis.exceptions import RedisError, TimeoutError

        deadline = time.monotonic() + self._patience_s
        pause_s = 0.1
        while True:
            try:
                return call()
            except RedisError as error:
                if not isinstance(error, Away | TimeoutError) or time.monotonic() > deadline:
                    raise BrokerError(
                        f"The broker fails: {error}.", "Start it again; the jobs in it go on."
                    ) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    def _view(self, job_id: str) -> JobView | None:
        def read() -> Any:
            with self._redis.pipeline() as pipe:
                pipe.hgetall(self._key(job_id))
                pipe.hlen(self._key(job_id, "open"))
                pipe.zcard(self._key(job_id, "lease"))
                pipe.hlen(self._key(job_id, "failed"))
                pipe.time()
                return pipe.execute()

        facts, n_open, n_leased, n_failed, (seconds, micros) = self.patiently(read)
        now = seconds + micros / 1e6
        return JobView.read(job_id, facts, now, n_open, n_leased, n_failed) if facts else None

    def _run(self, script: str, job_id: str, *arguments: Any) -> Any:
        return self.patiently(lambda: self._script(script, job_id, *arguments))

    def _script(self, script: str, job_id: str, *arguments: Any) -> Any:
        keys = self._keys(job_id)
        return self._redis.eval(script, len(keys), *keys, job_id, self._ttl_s, *arguments)

    def _keys(self, job_id: str) -> list[str]:
        return [self._key(job_id), *(self._key(job_id, part) for part in _PARTS), RUNNING]
