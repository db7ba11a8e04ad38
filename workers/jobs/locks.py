"""Locks that all workers share. The locks of a dead worker end with its lease."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from search.store.locks import N_STRIPES, PATIENCE_S, WriteLocks, locked_too_long
from workers.jobs import redis_scripts as lua
from workers.jobs.recovery.heartbeat import repeating
from workers.jobs.redis_link import RedisLink

_OWNER = "anymodal:owner"
_PAUSE_S = 0.05


class Locks:
    """Locks on a broker; ``writers`` are those of a store on a server."""

    def __init__(self, link: RedisLink, url: str) -> None:
        self._link = link
        self.writers = WriteLocks(url, self._stripes, self._owner)

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Whether nobody else does something; if so, others are kept out until the block ends."""
        return self._held([what])

    def first(self, what: str, for_s: float) -> bool:
        """Whether this is the first call for something within this many seconds."""
        return bool(self._link.redis.set(f"anymodal:{what}", "1", nx=True, px=int(for_s * 1000)))

    @contextmanager
    def _stripes(self, stripes: Sequence[int]) -> Iterator[None]:
        """Hold stripes. Who wants all of them keeps those that are free, one worker at a time."""
        names = [f"stripe:{stripe:02d}" for stripe in stripes]
        is_whole = len(names) == N_STRIPES
        turn = self._held(["whole"], PATIENCE_S) if is_whole else nullcontext(True)
        with turn as is_next, self._held(names, PATIENCE_S, keeps=is_whole) as is_taken:
            if not (is_next and is_taken):
                raise locked_too_long("The store")
            yield

    def _owner(self) -> str:
        """A name that the broker keeps as long as its data."""
        redis, patiently = self._link.redis, self._link.patiently
        patiently(lambda: redis.set(_OWNER, uuid.uuid4().hex, nx=True))
        return str(patiently(lambda: redis.get(_OWNER)))

    @contextmanager
    def _held(
        self, names: Sequence[str], patience_s: float = 0.0, *, keeps: bool = False
    ) -> Iterator[bool]:
        """Whether all could be locked in time; ``keeps``: lock those that are free meanwhile."""
        link = self._link
        keys = [f"anymodal:lock:{name}" for name in names]
        token = uuid.uuid4().hex
        held_ms = int(link.lease_s * 1000)

        def take() -> bool:
            arguments = (*keys, token, held_ms, int(keeps))
            return not keys or bool(link.redis.eval(lua.LOCK, len(keys), *arguments))

        deadline_s = time.monotonic() + patience_s
        try:
            while not link.patiently(take):
                if time.monotonic() >= deadline_s:
                    yield False
                    return
                time.sleep(_PAUSE_S)
            with repeating(take, link.lease_s / 4):
                yield True
        finally:
            if keys:
                link.patiently(lambda: link.redis.eval(lua.UNLOCK, len(keys), *keys, token))
