"""The health check of Milvus kills an unhealthy server, so that Docker starts it again."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.compose_files import COMPOSE, SERVICES
from tests.support.http_server import answering

SCRIPT = COMPOSE / "milvus" / "health.sh"


class Answers(BaseHTTPRequestHandler):
    """Answers with the server's status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Patient:
    """A process with a unique name, and its health check."""

    def __init__(self, folder: Path, url: str) -> None:
        self.name = f"m{uuid.uuid4().hex[:12]}"  # the kernel keeps 15 characters
        self.folder = folder
        self.url = url
        program = folder / self.name
        shutil.copy(shutil.which("sleep") or "", program)
        self.process = subprocess.Popen([program, "600"])

    def check(self) -> int:
        words = ["sh", SCRIPT, self.url, self.name, self.folder]
        return subprocess.run(words, check=False, capture_output=True).returncode


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    """A healthy one."""
    Answers.status = 200
    with answering(Answers) as server:
        patient = Patient(tmp_path, f"http://127.0.0.1:{server.server_port}/healthz")
        yield patient
    patient.process.kill()
    patient.process.wait()


def test_what_was_well_and_is_no_longer_is_ended_at_the_fifth_failure(patient: Patient) -> None:
    assert patient.check() == 0
    Answers.status = 500
    assert [patient.check() for _ in range(4)] == [1] * 4
    assert patient.process.poll() is None
    assert patient.check() == 1
    assert patient.process.wait(30) == -9


def test_failures_that_are_not_in_a_row_end_nothing(patient: Patient) -> None:
    for _ in range(3):
        Answers.status = 200
        assert patient.check() == 0
        Answers.status = 500
        assert [patient.check() for _ in range(4)] == [1] * 4
    assert patient.process.poll() is None


def test_what_begins_slowly_is_given_time(patient: Patient) -> None:
    Answers.status = 500
    assert [patient.check() for _ in range(29)] == [1] * 29
    assert patient.process.poll() is None
    assert patient.check() == 1
    assert patient.process.wait(30) == -9


def test_compose_runs_it_where_an_end_is_followed_by_a_start() -> None:
    milvus = SERVICES["milvus"]
    assert "./milvus/health.sh:/milvus/health.sh:ro" in milvus["volumes"]
    script, url, program, folder = milvus["healthcheck"]["test"][2:]
    assert (script, program) == ("/milvus/health.sh", milvus["command"][0])
    assert url.endswith(":9091/healthz")
    assert folder in milvus["tmpfs"]  # empty at each start
    assert milvus["init"] is True  # the first process of a container ignores its own signals
    assert milvus["restart"] == "unless-stopped"
