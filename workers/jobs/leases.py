"""What ends with its holder: the leases of planners, locks that all workers share, heartbeats."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from threading import Event, Thread

from search.errors import StoreBusyError
from search.store.locks import N_STRIPES, PATIENCE_S, WriteLocks, locked_too_long
from workers.jobs import redis_scripts as lua
from workers.jobs.redis_link import RUNNING, RedisLink, key
from workers.jobs.shard import Shard

START_S = 30.0
"""How long a planner may take to start: a Python process with Celery, on a busy machine."""
_WORKERS = "anymodal:workers"
_ABSENT_S = 15.0
"""A worker that has not looked for jobs without a planner for this long is not counted on."""


class PlannerLeases:
    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def begin(self, job_id: str, planner: str) -> bool:
        """Become the job's planner; False if another one is, or nothing is left to plan."""
        return bool(self._link.run(lua.PLAN, job_id, planner, self._link.lease_s))

    def renew(self, job_id: str, planner: str) -> bool:
        """Keep the lease; False if the job is no longer this planner's."""
        return bool(self._link.run(lua.PLANNING, job_id, planner, self._link.lease_s))

    def leave(self, job_id: str, planner: str) -> None:
        self._link.run(lua.LEAVE, job_id, planner)

    def finish(self, job_id: str, planner: str, last: Mapping[str, Shard] | None = None) -> bool:
        """Note that all shards were added; ``last`` is added too, without counting files."""
        opened = {name: shard.dumps() for name, shard in (last or {}).items()}
        return bool(self._link.run(lua.PLANNED, job_id, planner, json.dumps(opened)))

    def fail(self, job_id: str, planner: str, reason: str) -> None:
        """Note why the rest cannot be planned; the job fails once its open shards are done."""
        self._link.run(lua.FAIL, job_id, planner, reason)

    def cursors(self, job_id: str) -> dict[str, str]:
        facts = self._link.patiently(lambda: self._link.redis.hgetall(key(job_id)))
        return {
            name.removeprefix("cursor:"): json.loads(path)
            for name, path in facts.items()
            if name.startswith("cursor:")
        }

    def orphans(self, worker: str) -> list[str]:
        """The jobs whose planner fell silent, for a worker that may plan them."""
        orphan_ids = self._link.redis.eval(
            lua.ORPHANS, 2, RUNNING, _WORKERS, worker, _ABSENT_S, key("") + ":"
        )
        return sorted(orphan_ids)

    def hand_over(self, job_id: str) -> bool:
        """Keep a job without a planner for one that is being started; False if it has one."""
        return bool(self._link.run(lua.HAND_OVER, job_id, START_S))

    def decline(self, job_id: str, worker: str, reason: str) -> None:
        """Note why this worker cannot plan a job; it fails once all workers have declined it."""
        self._link.run(lua.DECLINE, job_id, worker, reason, _WORKERS, 2 * self._link.lease_s)


_OWNER = "anymodal:owner"
_PAUSE_S = 0.05


class _Lease:
    """What runs out unless it is taken again in time."""

    def __init__(self, take: Callable[[], bool], lease_s: float) -> None:
        self._take, self._lease_s = take, lease_s
        self._ends_at_s = time.monotonic()
        self._was_lost = False

    def take(self) -> bool:
        begun_s = time.monotonic()
        if is_taken := self._take():
            self._ends_at_s = begun_s + self._lease_s
        return is_taken

    def renew(self) -> None:
        """Take it again; that it is free does not mean that nobody had it meanwhile."""
        self._was_lost |= time.monotonic() > self._ends_at_s or not self.take()

    @property
    def is_lost(self) -> bool:
        return self._was_lost or time.monotonic() > self._ends_at_s


class Locks:
    """Locks on a broker; ``writers`` are those of a store on a server."""

    def __init__(self, link: RedisLink, url: str) -> None:
        self._link = link
        self.writers = WriteLocks(url, self._stripes, self._owner)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether nobody else does something; if so, others are kept out until the block ends."""
        with self._held([what]) as lease:
            yield lease is not None

    def first(self, what: str, for_s: float) -> bool:
        """Whether this is the first call for something within this many seconds."""
        return bool(self._link.redis.set(f"anymodal:{what}", "1", nx=True, px=int(for_s * 1000)))

    @contextmanager
    def _stripes(self, stripes: Sequence[int]) -> Iterator[None]:
        """Hold stripes. Who wants all of them keeps those that are free, one worker at a time."""
        names = [f"stripe:{stripe:02d}" for stripe in stripes]
        is_whole = len(names) == N_STRIPES
        turn = self._held(["whole"], PATIENCE_S) if is_whole else nullcontext(True)
        with turn as is_next, self._held(names, PATIENCE_S, keeps=is_whole) as lease:
            if not (is_next and lease):
                raise locked_too_long("The store")
            yield
            if lease.is_lost:
                raise StoreBusyError(
                    "A lock of the store ran out on the broker while it was held, so another "
                    "process may have changed the same assets.",
                    remedy="Ingest them again. If it happens often, see why the broker was away.",
                )

    def _owner(self) -> str:
        """A name that the broker keeps as long as its data."""
        redis, patiently = self._link.redis, self._link.patiently
        patiently(lambda: redis.set(_OWNER, uuid.uuid4().hex, nx=True))
        return str(patiently(lambda: redis.get(_OWNER)))

    @contextmanager
    def _held(
        self, names: Sequence[str], patience_s: float = 0.0, *, keeps: bool = False
    ) -> Iterator[_Lease | None]:
        """The locks, None if not in time; ``keeps``: lock those that are free meanwhile."""
        link = self._link
        keys = [f"anymodal:lock:{name}" for name in names]
        token = uuid.uuid4().hex
        held_ms = int(link.lease_s * 1000)

        def take() -> bool:
            arguments = (*keys, token, held_ms, int(keeps))
            return not keys or bool(link.redis.eval(lua.LOCK, len(keys), *arguments))

        deadline_s = time.monotonic() + patience_s
        lease = _Lease(take, link.lease_s)
        try:
            while not link.patiently(lease.take):
                if time.monotonic() >= deadline_s:
                    yield None
                    return
                time.sleep(_PAUSE_S)
            with repeating(lease.renew, link.lease_s / 4):
                yield lease
        finally:
            if keys:
                link.patiently(lambda: link.redis.eval(lua.UNLOCK, len(keys), *keys, token))


logger = logging.getLogger(__name__)


@contextmanager
def repeating(beat: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call ``beat`` every ``every_s`` seconds in a thread until the block ends.

    Exceptions are logged: a short absence of the broker must not end the work.
    """
    ended = Event()

    def run() -> None:
        while not ended.wait(every_s):
            try:
                beat()
            except Exception as error:  # noqa: BLE001 (see above)
                logger.debug("heartbeat failed: %s", error)

    thread = Thread(target=copy_context().run, args=(run,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
