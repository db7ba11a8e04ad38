"""The stack of compose.yaml as an operator starts it, and its API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.compose import images
from tests.compose.engine import Engine, run
from tests.support.compose_files import COMPOSE
from tests.support.milvus_server import free_port

OVERRIDE = Path(__file__).with_name("override.yaml")
_UP_S = 600.0
_JOB_S = 600.0
_SEEN_S = 120.0

Seen = TypeVar("Seen")


class Stack:
    """A copy of ``compose/`` with ``.env``, secrets and the test's override; started by `up`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.folder = engine.folder / "compose"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(COMPOSE, self.folder, ignore=lambda *_: {"secrets", "media", ".env"})
        shutil.copy(OVERRIDE, self.folder / "compose.override.yaml")
        self.port = free_port()
        self.set(
            ANYMODAL_LISTEN=f"127.0.0.1:{self.port}",
            ANYMODAL_IMAGE=images.OURS,
            TEXT_WORKERS="2",
            TEXT_PROCESSES="1",
            TEXT_CPUS="1",
        )
        run([self.folder / "secrets.sh"], dict(os.environ), 60)
        self._key = ""

    def set(self, **variables: str) -> None:
        """Write lines to ``.env``; later ones win."""
        with (self.folder / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in variables.items())

    def compose(self, *words: str, timeout_s: float = _UP_S) -> str:
        """Return what ``docker-compose`` prints when run in this folder."""
        command = ["docker-compose", "--project-directory", str(self.folder), *words]
        return run(command, self.engine.environment, timeout_s=timeout_s)

    def up(self, *files: str) -> None:
        """Start what is not running, of ``--file=…`` or the usual files; wait until healthy."""
        self.compose(*files, "up", "--detach", "--no-build", "--wait", "--remove-orphans")

    def down(self, *words: str) -> None:
        """Stop the stack; its data stay, unless ``--volumes`` is given."""
        self.compose("down", *words)

    def make_key(self) -> None:
        """Create a key before the first start, as the handbook says."""
        words = [
            "run",
            "--rm",
            "-T",
            "--no-deps",
            "api",
            "keys",
            "create",
            "me",
            "--scope",
            "admin",
        ]
        self._key = json.loads(self.compose(*words))["key"]

    def client(self) -> httpx.Client:
        """A client for the API, with the key."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=60,
        )

    def containers(self, service: str = "") -> list[str]:
        """Names of the running containers: all, or those of a service."""
        only = [f"--filter=label=com.docker.compose.service={service}"] if service else []
        return sorted(self.engine.podman("ps", "--format={{.Names}}", *only).split())

    def kill(self, container: str) -> None:
        """End its first process as the kernel does when memory runs out."""
        state = self.engine.inspect(container)["State"]
        assert isinstance(state, dict)
        os.kill(int(state["Pid"]), signal.SIGKILL)

    def logs(self) -> str:
        """The end of what all containers wrote."""
        with suppress(RuntimeError):
            return self.compose("logs", "--tail", "40", timeout_s=60)
        return ""


def upload(client: httpx.Client, files: Iterable[Path]) -> str:
    """Send files to be ingested; the job's id."""
    parts = [("file", (path.name, path.read_bytes())) for path in files]
    answer = client.post("/v1/assets", files=parts)
    answer.raise_for_status()
    return str(answer.json()["job"]["id"])


def job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The state of a job."""
    answer = client.get(f"/v1/jobs/{job_id}")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job when it is done.

    Raises:
        TimeoutError: it is not.
    """
    deadline = time.monotonic() + _JOB_S
    while time.monotonic() < deadline:
        found = job(client, job_id)
        if found["state"] not in ("planning", "running"):
            return found
        time.sleep(0.5)
    raise TimeoutError(f"not done after {_JOB_S:.0f} s: {found}")


def names_found(client: httpx.Client, text: str, limit: int = 5) -> list[str]:
    """The names of the assets that a text finds, best first."""
    answer = client.post("/v1/search", json={"query": text, "limit": limit})
    answer.raise_for_status()
    return [hit["name"] for hit in answer.json()["hits"]]


def until(seen: Callable[[], Seen], is_right: Callable[[Seen], bool]) -> Seen:
    """Look again until it is right, or time is up; return what was seen last.

    An API sees what workers store a moment later.
    """
    deadline = time.monotonic() + _SEEN_S
    while True:
        found = seen()
        if is_right(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)
