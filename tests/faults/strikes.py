"""What a round does to the parts of a cluster in the middle of a job."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from search.errors import StoreError
from search.store.open import open_store
from tests.faults.cluster import Cluster, Part, answers
from tests.faults.disk import Disk
from tests.faults.tiny_worker import DIM, SPACE
from tests.support.milvus_server import MilvusServer
from tests.support.valkey import tries_of
from tests.support.waiting import wait_for
from workers.jobs.board import JobBoard

_RECOVERY_S = 15.0


@dataclass
class Scene:
    """A running job, and the processes that work on it."""

    cluster: Cluster
    board: JobBoard
    job_id: str
    command: subprocess.Popen[str]
    """Plans the job and watches it."""
    chance: random.Random
    hold_s: float
    """How long a suspended process stays so; longer than a lease."""
    disk: Disk | None = None
    struck: float = field(default_factory=time.monotonic)

    def moment(self) -> None:
        """Wait for up to two seconds."""
        time.sleep(self.chance.random() * 2)

    def worker(self) -> Part:
        """One of the workers."""
        return self.chance.choice(self.cluster.workers)

    def child(self) -> int:
        """One of the processes that do a worker's tasks."""
        return self.chance.choice(self.worker().children())


def _kill_child(scene: Scene) -> float:
    held = scene.board.shards.leased(scene.job_id)
    os.kill(scene.child(), signal.SIGKILL)
    return _taken_up(scene, held)


def _kill_worker(scene: Scene) -> float:
    held = scene.board.shards.leased(scene.job_id)
    _restart(scene, scene.worker())
    return _taken_up(scene, held)


def _kill_planner(scene: Scene) -> float | None:
    """Kill the command, which finds the files; workers find the rest."""
    first = scene.board.status(scene.job_id)
    scene.command.kill()
    if first.state != "planning":
        return None

    def taken() -> bool:
        job = scene.board.status(scene.job_id)
        return job.state != "planning" or job.planner not in (first.planner, "")

    wait_for(taken, 90, "the takeover")
    return round(time.monotonic() - scene.struck, 1)


def _kill_redis(scene: Scene) -> None:
    _restart(scene, scene.cluster.redis)


def _kill_milvus(scene: Scene) -> None:
    _restart(scene, scene.cluster.milvus)


def _kill_all(scene: Scene) -> None:
    cluster = scene.cluster
    scene.command.kill()
    parts = [*cluster.workers, cluster.milvus, cluster.redis]
    for part in parts:
        part.kill()
    scene.moment()
    for part in reversed(parts):
        part.start()
        _wait_until_up(cluster, part)


def _stop(scene: Scene, name: str) -> None:
    part = {"redis": scene.cluster.redis, "milvus": scene.cluster.milvus}.get(name)
    _hold(partial(os.killpg, (part or scene.worker()).process.pid), scene.hold_s)
    if isinstance(part, MilvusServer):
        _care_for(part)


def _care_for(server: MilvusServer) -> None:
    """Start Milvus again if it does not recover, as its operator does.

    After a pause longer than the sessions of its components (15 s), some exit, usually all; some
    may stay and refuse requests ("channel not available").
    """
    deadline = time.monotonic() + _RECOVERY_S
    while server.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    if server.process.poll() is None and _answers_queries(server.uri):
        return
    server.kill()
    server.start()
    server.wait_until_ready()


def _answers_queries(uri: str) -> bool:
    try:
        store = open_store(uri, SPACE.fingerprint, DIM)
        try:
            store.count()
        finally:
            store.close()
    except StoreError:
        return False
    return True


def _stop_child(scene: Scene) -> None:
    _hold(partial(os.kill, scene.child()), scene.hold_s)


def _hold(send: Callable[[int], None], seconds: float) -> None:
    send(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        send(signal.SIGCONT)


def _cut(scene: Scene) -> None:
    """Cut the connections three times, each for a moment."""
    for _ in range(3):
        for proxy in scene.cluster.proxies:
            proxy.cut()
        scene.moment()
        for proxy in scene.cluster.proxies:
            proxy.mend()
        scene.moment()


def _stall(scene: Scene) -> None:
    """Stall for longer than a call to Redis waits (10 s), in a long round."""
    for proxy in scene.cluster.proxies:
        proxy.stall()
    time.sleep(scene.hold_s / 2)
    for proxy in scene.cluster.proxies:
        proxy.mend()


def _delay(scene: Scene) -> None:
    for proxy in scene.cluster.proxies:
        proxy.delay(0.2)
    time.sleep(scene.hold_s / 2)
    for proxy in scene.cluster.proxies:
        proxy.mend()


def _fill_disk(scene: Scene) -> float:
    """Fill the disk until a shard was given back for lack of space."""
    assert scene.disk
    scene.disk.fill(leave_mb=1)
    wait_for(lambda: bool(scene.board.status(scene.job_id).waits_for), 60, "a shard without room")
    told_s = time.monotonic() - scene.struck
    scene.moment()
    scene.disk.free()
    return round(told_s, 1)


STRIKES: dict[str, Callable[[Scene], float | None]] = {
    "child": _kill_child,
    "worker": _kill_worker,
    "planner": _kill_planner,
    "redis": _kill_redis,
    "milvus": _kill_milvus,
    "all": _kill_all,
    "stop child": _stop_child,
    "stop worker": partial(_stop, name="worker"),
    "stop redis": partial(_stop, name="redis"),
    "stop milvus": partial(_stop, name="milvus"),
    "cut": _cut,
    "stall": _stall,
    "delay": _delay,
    "full disk": _fill_disk,
}
"""By kind; each returns the seconds until the strike was handled or reported, if known."""


def _restart(scene: Scene, part: Part | MilvusServer) -> None:
    part.kill()
    scene.moment()
    part.start()
    _wait_until_up(scene.cluster, part)


def _wait_until_up(cluster: Cluster, part: Part | MilvusServer) -> None:
    if part is cluster.redis:
        wait_for(lambda: answers(cluster.redis_port), 30, "Redis")
    if part is cluster.milvus:
        cluster.milvus.wait_until_ready()
    assert part.process.poll() is None, part.log()


def _taken_up(scene: Scene, held: set[str]) -> float:
    wait_for(lambda: not held & _untouched(scene), 60, "the redelivery")
    return round(time.monotonic() - scene.struck, 1)


def _untouched(scene: Scene) -> set[str]:
    """Open shards that were taken at most once."""
    tries = tries_of(scene.board, scene.job_id)
    opened = scene.board.shards.open(scene.job_id)
    return {shard for shard in opened if tries.get(shard, 0) < 2}
