"""The connection to Redis: waits while the broker is away, and runs scripts on a job's keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from encoder.errors import AnymodalError, InputError
from workers.observe.logs import clean

T = TypeVar("T")

JOBS = "anymodal:jobs"
"""All jobs, by creation time."""
RUNNING = "anymodal:jobs:running"
"""The ids of jobs that have not ended."""
PARTS = ("open", "lease", "tries", "begun", "failed")


class BrokerError(AnymodalError):
    """The broker does not answer."""

    retryable = True
    failing = "broker"


class RedisLink:
    """Safe in threads and, since each process makes its own connections, after a fork.

    Raises:
        InputError: not a Redis URL.
    """

    def __init__(self, url: str, *, ttl_s: int, lease_s: float, patience_s: float) -> None:
        import redis

        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise InputError("--broker", got=repr(clean(url)), wanted="redis://host:6379/0")
        self.redis: Any = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=10, socket_connect_timeout=5
        )
        self.ttl_s = ttl_s
        self.lease_s = lease_s
        self._patience_s = patience_s

    def patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call, which must be safe to repeat, until the broker is back.

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
                        f"The broker failed: {error}.", "Restart it; its jobs will continue."
                    ) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)

    def run(self, script: str, job_id: str, *arguments: Any) -> Any:
        """Run a script of `workers.jobs.redis_scripts` on a job, patiently."""
        return self.patiently(lambda: self.run_once(script, job_id, *arguments))

    def run_once(self, script: str, job_id: str, *arguments: Any) -> Any:
        """Run a script without waiting for a broker that is away."""
        keys = [*keys_of(job_id), RUNNING]
        return self.redis.eval(script, len(keys), *keys, job_id, self.ttl_s, *arguments)

    def now(self) -> float:
        """The broker's clock, in seconds since 1970."""
        seconds, micros = self.patiently(self.redis.time)
        return float(seconds + micros / 1e6)


def key(job_id: str, suffix: str = "") -> str:
    return f"anymodal:job:{job_id}:{suffix}".rstrip(":")


def keys_of(job_id: str) -> list[str]:
    """All keys of a job, in the order that scripts expect."""
    return [key(job_id), *(key(job_id, suffix) for suffix in PARTS)]
