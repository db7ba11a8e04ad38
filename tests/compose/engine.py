"""Podman as the stack's engine: its own storage, a socket for docker-compose, healthchecks."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

PROGRAMS = ("podman", "runc", "docker-compose", "debootstrap")
_CHECK_EVERY_S = 5.0
_READY_S = 30.0


def why_not() -> str:
    """Why no stack can be started on this machine; nothing if it can."""
    if os.geteuid() != 0:
        return "the stack is started in podman by root only: sudo make compose-test"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install {' '.join([*PROGRAMS, *NEEDED])}"
    return ""


NEEDED = ("netavark", "aardvark-dns", "catatonit")
"""What podman needs besides programs called by name: for networks, DNS and `init: true`."""


class Engine:
    """Podman with everything it stores in one folder, apart from what else runs on this machine.

    Args:
        folder: images stay there for the next run; its path must be short, for sockets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.socket = Path(tempfile.gettempdir()) / f"anymodal-podman-{os.getpid()}.sock"
        (folder / "containers.conf").write_text(_containers_conf(folder))
        (folder / "storage.conf").write_text(_storage_conf(folder))

    @property
    def environment(self) -> dict[str, str]:
        """The environment for podman and docker-compose."""
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "TMPDIR": str(self.temporary),
            "DOCKER_HOST": f"unix://{self.socket}",
        }

    def podman(self, *words: str | Path, timeout_s: float = 120) -> str:
        """What a command prints.

        Raises:
            RuntimeError: it failed; with what it printed.
        """
        return run(["podman", *words], self.environment, timeout_s=timeout_s)

    def problem(self) -> str:
        """Why podman does not work here, in its own words; nothing if it does."""
        try:
            self.podman("info", timeout_s=60)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return str(error)
        return ""

    def has_image(self, name: str) -> bool:
        """Whether an image was made before."""
        found = self.podman("images", "--quiet", "--filter", f"reference={name}")
        return bool(found.strip())

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer docker-compose, and look after the containers' health."""
        serve = ["podman", "system", "service", "--time", "0", f"unix://{self.socket}"]
        with (self.folder / "service.log").open("wb") as log:
            service = subprocess.Popen(serve, env=self.environment, stdout=log, stderr=log)
        ended = Event()
        checking = Thread(target=self._check_health, args=[ended], daemon=True)
        try:
            _wait_for(self.socket)
            checking.start()
            yield
        finally:
            ended.set()
            if checking.is_alive():
                checking.join(60)
            service.terminate()
            service.wait(30)
            self.socket.unlink(missing_ok=True)

    def _check_health(self, ended: Event) -> None:
        """Podman leaves this to systemd timers, which may not run here."""
        while not ended.wait(_CHECK_EVERY_S):
            running = self._quiet("ps", "--format", "{{.Names}}").split()
            for name in running:
                self._quiet("healthcheck", "run", name)

    def _quiet(self, *words: str) -> str:
        """Run a command that may fail: the container has ended meanwhile, or is not healthy."""
        command = ["podman", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def inspect(self, container: str) -> dict[str, object]:
        """What podman knows of a container."""
        (found,) = json.loads(self.podman("container", "inspect", container))
        return dict(found)


def run(command: Sequence[str | Path], environment: dict[str, str], timeout_s: float) -> str:
    """What a command prints to stdout.

    Raises:
        RuntimeError: it failed; with the end of what it printed.
    """
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4000:]
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}")
    return done.stdout


def _wait_for(socket: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while not socket.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"podman does not serve at {socket}")
        time.sleep(0.1)


def _containers_conf(folder: Path) -> str:
    """The current limits, since root may not raise them in every sandbox; no systemd."""
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(number)[1] for name, number in limits.items()}
    ulimits = json.dumps([f"{name}={most}:{most}" for name, most in hard.items()])
    return f"""\
[containers]
default_ulimits = {ulimits}
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
compat_api_enforce_docker_hub = false
static_dir = "{folder}/libpod"
tmp_dir = "{folder}/run/libpod"
volume_path = "{folder}/volumes"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""


def _storage_conf(folder: Path) -> str:
    return f"""\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
