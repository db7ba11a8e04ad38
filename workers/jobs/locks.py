"""Locks that all workers share. The locks of a dead worker end with its lease."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from workers.jobs import redis_scripts as lua
from workers.jobs.recovery.heartbeat import repeating
from workers.jobs.redis_link import BrokerError, RedisLink

_LONGEST_COMMIT_S = 300


class Locks:
    """Locks on a broker."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    @contextmanager
    def exclusive(self, asset_ids: Iterable[str]) -> Iterator[None]:
        """Lock these contents among all workers; waits while another worker holds one.

        Raises:
            BrokerError: another worker holds one for longer than any commit takes.
        """
        deadline = time.monotonic() + _LONGEST_COMMIT_S
        while True:
            with self._locked(sorted(set(asset_ids))) as is_taken:
                if is_taken:
                    yield
                    return
            if time.monotonic() > deadline:
                raise BrokerError(
                    "Another worker has held a file's content for too long.", "Try again."
                )
            time.sleep(0.05)

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Whether nobody else does something; if so, others are kept out until the block ends."""
        return self._locked([what])

    def first(self, what: str, for_s: float) -> bool:
        """Whether this is the first call for something within this many seconds."""
        return bool(self._link.redis.set(f"anymodal:{what}", "1", nx=True, px=int(for_s * 1000)))

    @contextmanager
    def _locked(self, names: Sequence[str]) -> Iterator[bool]:
        link = self._link
        keys = [f"anymodal:lock:{name}" for name in names]
        token = uuid.uuid4().hex
        held_ms = int(link.lease_s * 1000)

        def take() -> bool:
            return not keys or bool(link.redis.eval(lua.LOCK, len(keys), *keys, token, held_ms))

        if not link.patiently(take):
            yield False
            return
        try:
            with repeating(take, link.lease_s / 4):
                yield True
        finally:
            if keys:
                link.patiently(lambda: link.redis.eval(lua.UNLOCK, len(keys), *keys, token))
