"""The genuine Milvus server, from the wheel that ships its binary: start, wait, kill, start again.

Milvus 2.3.5 is the last one on PyPI. It has a separate environment, `.venv-milvus`
(``make .venv-milvus/installed``), since its pins exclude today's pymilvus. The binary is run
directly: the wheel's own launcher tests whether ports are free in a way that fails for half a
minute after a kill, unpacks 250 MB for each data folder, and has no way to move the ports of
the embedded etcd, without which a second server on the machine does not start.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import gettempdir
from typing import IO, Any

HOME = Path(__file__).parents[2] / ".venv-milvus"
_ROLES = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
_SESSION_TTL_S = 15
_READY_S = 120.0
_TAIL_LINES = 40
_ASK = """
import sys
from search.errors import StoreUnavailableError
from search.store.milvus.link import MilvusLink
while True:
    try:
        MilvusLink(sys.argv[1], timeout_s=5, connect_timeout_s=1).close()
        break
    except StoreUnavailableError:
        pass
"""

_given_ports: set[int] = set()


def free_port() -> int:
    """A port on which nothing listens, and which nobody else is given while this process lives.

    A lock on one byte of a file claims it: several processes run tests at once, and a port may be
    used minutes after it was picked. It is below the system's range of ephemeral ports: with a
    port in that range, a client that tries to reach a killed server can be given the same port,
    be connected to itself, and keep the server from coming back.
    """
    claims = _claims()
    while True:
        port = random.randint(15_000, 30_000)
        if port in _given_ports:
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            _given_ports.add(port)
            return port


@cache
def _claims() -> IO[bytes]:
    """Open until the process ends, which frees its locks; closing it even once would free them."""
    return Path(gettempdir(), f"anymodal-ports-{os.getuid()}.lock").open("ab")


class MilvusServer:
    """A server on one data folder. It keeps its ports, so that clients find it after a restart.

    It listens on all interfaces, without a password: for tests and measurements only.

    Args:
        folder: data, configuration and log; what is there already is served again.
        is_brisk: look for work ten times as often as it does by default, which is what a test waits
            for. Measurements want the default.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """

    def __init__(self, folder: Path, *, is_brisk: bool = True) -> None:
        self.folder = folder.absolute()
        self.log_file = self.folder / "milvus.log"
        (self.folder / "configs").mkdir(parents=True, exist_ok=True)
        port = _configure(self.folder, is_brisk)
        self.uri = f"http://127.0.0.1:{port}"
        self._metrics_port = free_port()
        self._program = unpacked()

    def start(self) -> None:
        """Start it in a session of its own; see `wait_until_ready`."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self._program / "milvus", "run", "standalone"],
                cwd=self.folder,
                env={
                    **os.environ,
                    "DEPLOY_MODE": "STANDALONE",
                    "LD_LIBRARY_PATH": str(self._program),
                    "METRICS_PORT": str(self._metrics_port),
                    "MILVUS_RUN_DIR": str(self.folder / "run"),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_again(self) -> None:
        """Start it if it has ended."""
        if self.process.poll() is not None:
            self.start()
            self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = _READY_S) -> None:
        """Wait until it answers, and say what it printed if it does not.

        A process of its own asks: whoever waits may fork later, and gRPC's threads and locks do
        not survive a fork.

        Raises:
            RuntimeError: it ended, or was not ready in time.
        """
        words = [sys.executable, "-c", _ASK, self.uri]
        with subprocess.Popen(words, cwd=HOME.parent) as asking:
            deadline = time.monotonic() + timeout_s
            while self.process.poll() is None and time.monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    if asking.wait(0.1) == 0:
                        return
                    break
            asking.kill()
        code = self.process.poll()
        became = "is not ready" if code is None else f"ended with {code}"
        raise RuntimeError(f"Milvus {became}. The end of {self.log_file}:\n{self.log()}")

    def kill(self) -> None:
        """Kill -9; a graceful stop takes more than 20 seconds, and saves nothing more."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def log(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def __enter__(self) -> MilvusServer:
        self.start()
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def wheel() -> Path:
    found = sorted(HOME.glob("lib/python3*/site-packages/milvus/data"))
    if not found:
        raise FileNotFoundError(f"No Milvus server in {HOME}: run `make {HOME.name}/installed`.")
    return found[0]


def unpacked() -> Path:
    """The folder with the binary and its libraries, unpacked once."""
    folder = HOME / "milvus"
    for packed in sorted(wheel().glob("bin/*.lzma")):
        file = folder / packed.stem
        if not file.exists():
            folder.mkdir(exist_ok=True)
            partial = file.with_suffix(f".{os.getpid()}")
            partial.write_bytes(lzma.decompress(packed.read_bytes()))
            partial.chmod(0o755)
            partial.replace(file)  # whole or not at all
    return folder


def _configure(folder: Path, is_brisk: bool) -> int:
    """Write the configuration, with its own ports, unless there is one; return the proxy's port."""
    import yaml

    file = folder / "configs" / "milvus.yaml"
    if not file.exists():
        etcd = folder / "configs" / "etcd.yaml"
        etcd.write_text(yaml.safe_dump(_etcd_settings()))
        settings = _settings(folder, etcd)
        if is_brisk:
            settings["proxy"]["timeTickInterval"] = 50
            settings["queryCoord"] |= {"checkInterval": 100, "distPullInterval": 100}
            settings["rootCoord"]["dmlChannelNum"] = 4  # each is ticked
        file.write_text(yaml.safe_dump(settings))
        (file.parent / "glog.conf").write_bytes((wheel() / "glog.conf").read_bytes())
    return int(yaml.safe_load(file.read_text())["proxy"]["port"])


def _settings(folder: Path, etcd: Path) -> dict[str, Any]:
    """The wheel's template, filled in."""
    import yaml

    values = {
        "etcd_log_level": "warn",
        "etcd_log_path": "stdout",
        "etcd_data_dir": folder / "data" / "etcd",
        "local_storage_dir": folder / "data",
        "rocksmq_data_dir": folder / "data" / "rocksmq",
        "system_log_path": '""',  # logs go to its output only
    }

    def value(match: re.Match[str]) -> str:
        return str(free_port() if match[1].endswith("_port") else values.get(match[1], match[2]))

    template = (wheel() / "config.yaml.template").read_text()
    text = re.sub(r"\{\{\s*(\w+)(?:\(\w+\))?(?::\s*(.*?))?\s*\}\}", value, template)
    settings: dict[str, Any] = yaml.safe_load(text)
    for role in _ROLES:
        settings[role]["ip"] = "127.0.0.1"
    settings["etcd"]["config"] = {"path": str(etcd)}
    settings["log"]["level"] = "warn"
    # After a kill, a new server waits until the sessions of the dead one have expired. The default
    # is 30 s; with 5 s, a server on a busy machine considered itself dead.
    settings["common"]["session"]["ttl"] = _SESSION_TTL_S
    return settings


def _etcd_settings() -> dict[str, str]:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    return {
        "name": "milvus",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"milvus={peer}",
    }
