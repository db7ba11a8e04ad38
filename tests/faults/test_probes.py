"""A worker's probes tell what is away from a worker that is stuck."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from encoder.errors import DiskError
from tests.faults.cluster import Cluster, LiteServer
from tests.faults.disk import small_disk
from tests.faults.rounds import running
from tests.support.milvus_server import free_port
from tests.support.waiting import wait_for
from workers.observe.probes import check_store

PORT = free_port()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path / "cluster", ANYMODAL_METRICS_PORT=str(PORT)) as cluster:
        yield cluster


def ask(path: str) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"http://127.0.0.1:{PORT}{path}", timeout=30)
    return answer.status_code, answer.json()


def away() -> set[str]:
    """The parts that do not answer."""
    code, body = ask("/readyz")
    names = {name for name, check in body["checks"].items() if not check["ok"]}
    assert code == (503 if names else 200)
    return names


def is_alive() -> bool:
    code, body = ask("/healthz")
    assert body["status"] == {200: "ok", 503: "stuck"}[code]
    return code == 200


def test_what_is_away_is_told_from_what_is_stuck(cluster: Cluster) -> None:
    (worker,) = cluster.workers
    assert away() == set()
    assert is_alive()
    assert b"anymodal_broker_up 1.0" in httpx.get(f"http://127.0.0.1:{PORT}/metrics").content

    assert isinstance(cluster.milvus, LiteServer)
    cluster.milvus.stop()  # the kernel still accepts connections
    assert away() == {"store"}
    cluster.milvus.go_on()
    wait_for(lambda: away() == set(), 30, "the store")
    cluster.milvus.kill()
    assert away() == {"store"}
    assert is_alive()
    cluster.milvus.start_again()

    cluster.redis.kill()
    assert away() == {"broker"}
    wait_for(lambda: is_alive() and ask("/healthz")[1]["silent_s"] >= 4, 60, "a silent worker")
    wait_for(lambda: ask("/healthz")[1]["silent_s"] < 4, 10, "patience, as it waits")
    cluster.redis.start()
    wait_for(lambda: away() == set(), 30, "the broker")
    assert is_alive()

    os.kill(worker.process.pid, signal.SIGRTMIN)
    wait_for(lambda: not is_alive(), 60, "what is stuck")
    code, body = ask("/readyz")
    assert (code, body["status"]) == (503, "stuck")
    assert all(check["ok"] for check in body["checks"].values())


def test_only_what_speaks_http_2_is_a_store() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="timed out"):
            check_store(f"http://me:secret@{address}/photos")
    with pytest.raises(ConnectionRefusedError):
        check_store(f"http://{address}")


@pytest.mark.root
def test_a_folder_is_ready_while_it_has_room(tmp_path: Path) -> None:
    check_store(str(tmp_path / "new"))
    with small_disk(tmp_path / "disk", 4) as disk, pytest.raises(DiskError, match="are needed"):
        check_store(str(disk.folder / "store"))
