"""A container's health check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from tests.support.http_server import answering
from workers.serving.health import problem_at

ANSWERS = {
    "/readyz": (200, '{"status":"ok"}'),
    "/down": (503, '{"error":{}}'),
    "/metrics": (200, "# HELP anymodal_broker_up 1 if it answers\nanymodal_broker_up 1.0\n"),
    "/alone": (200, "# HELP anymodal_broker_up 1 if it answers\nanymodal_broker_up 0.0\n"),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, body = ANSWERS[self.path]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with answering(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/readyz", ""),
        ("/metrics", ""),
        ("/down", "503"),
        ("/alone", "the broker does not answer"),
    ],
)
def test_what_is_not_ready_is_said(url: str, path: str, why: str) -> None:
    said = problem_at(url + path)
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize(("path", "code"), [("/readyz", 0), ("/down", 1)])
def test_the_exit_code_shows_it(url: str, path: str, code: int) -> None:
    environment = {"ANYMODAL_HEALTH_URL": url + path}
    program = [sys.executable, "-m", "workers.serving.health"]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert bool(ran.stderr) == bool(code)
