"""One embedded store for several processes at once, and what `anymodal doctor` reports about it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.store.lite.shared import Served, served
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset
from tests.integration.conftest import ANYMODAL, Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def supervisor(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([ANYMODAL, "up", "--store", folder])
    wait_until_served(folder)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def wait_until_served(folder: Path, other_than: Served | None = None) -> Served:
    deadline = time.monotonic() + 60
    while (found := served(folder)) is None or found == other_than:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_two_processes_share_the_folder_and_the_server_comes_back(
    folder: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    first = wait_until_served(folder)
    here = open_store(str(folder), SPACE, DIM)
    here.write([asset("a", "/a")], [])
    here.close()
    there = subprocess.run([ANYMODAL, "up", "--store", folder], capture_output=True, text=True)
    assert there.returncode == 1
    assert f"already served by process {first.pid}" in there.stderr

    os.kill(first.pid, signal.SIGKILL)
    wait_until_served(folder, other_than=first)
    again = open_store(str(folder), SPACE, DIM)
    assert list(again.assets(["a"])) == ["a"]
    again.close()

    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0
    assert served(folder) is None
    alone = open_store(str(folder), SPACE, DIM)  # the folder is free again
    assert list(alone.assets(["a"])) == ["a"]
    alone.close()


@pytest.mark.usefixtures("supervisor")
def test_ingest_and_search_find_the_server_and_doctor_shows_it(
    anymodal: Run, media: Path, folder: Path
) -> None:
    assert anymodal("ingest", media / "texts")["ingested"] == 2
    findings = {f["part"]: f for f in anymodal("doctor")["findings"]}
    assert all(finding["ok"] for finding in findings.values())
    assert findings["store"]["facts"]["assets"] == 2
    assert findings["store"]["facts"]["served_at"] == wait_until_served(folder).uri
    assert findings["model"]["facts"]["embed_dim"] == 384


@pytest.mark.usefixtures("bundle_home")
def test_doctor_names_what_fails_and_looks_at_the_rest(tmp_path: Path) -> None:
    done = subprocess.run(
        [ANYMODAL, "doctor", "--broker", "redis://127.0.0.1:1/0", "--json"],
        env={**os.environ, "ANYMODAL_STORE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    findings = {f["part"]: f for f in json.loads(done.stdout)["findings"]}
    assert [part for part, f in findings.items() if not f["ok"]] == ["broker", "workers"]
    assert "does not answer" in findings["broker"]["text"]
