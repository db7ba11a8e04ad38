"""One embedded store for several processes at once, and what `anymodal doctor` reports about it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.errors import StoreUnservedError
from search.store.lite.shared import Served, served
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset
from tests.integration.conftest import ANYMODAL, Run

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
from search.store.open import open_store
from tests.contract.rows import DIM, SPACE, asset
store = open_store(sys.argv[1], SPACE, DIM)
store.write([asset("alone", "/alone")], [])
store.close()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store"


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
    write_alone(folder)  # the folder is free again


def write_alone(folder: Path) -> None:
    """Write in a process that never saw the folder shared."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, folder], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_clients_wait_for_a_killed_server_and_go_on(
    folder: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    store = open_store(str(folder), SPACE, DIM)
    store.write([asset("a", "/a")], [])
    for part in (supervisor.pid, wait_until_served(folder).pid):
        os.kill(part, signal.SIGKILL)
    supervisor.wait(30)
    while served(folder):
        time.sleep(0.05)
    assert list(store.assets(["a"])) == ["a"]  # searches go on
    for change in (lambda: store.write([asset("b", "/b")], []), lambda: store.delete(["a"])):
        with pytest.raises(StoreUnservedError, match="anymodal up"):
            change()
    with pytest.raises(StoreUnservedError):
        store.ping()
    write_alone(folder)  # nobody holds it

    words = [ANYMODAL, "up", "--store", folder]
    with subprocess.Popen(words) as again:
        wait_until_served(folder)
        store.ping()
        store.write([asset("b", "/b")], [])
        store.delete(["a"])
        assert [row.asset_id for row in store.scan()] == ["alone", "b"]
        again.send_signal(signal.SIGTERM)
    store.close()


def test_a_note_of_a_killed_server_says_nothing(folder: Path) -> None:
    """Its process id lives again, and something else may listen on its port."""
    write_alone(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for pid in (1, os.getpid()):
            (folder / "server.json").write_text(json.dumps({"uri": uri, "pid": pid}))
            (folder / "server.lock").touch()
            assert served(folder) is None
        write_alone(folder)


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
