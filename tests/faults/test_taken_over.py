"""A decoder that was taken over by a file tries everything, and nothing outside changes.

On three kernels: this one, one whose Landlock knows no scopes, and one without Landlock.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from ingest import IngestConfig, identify, isolate, segments

pytestmark = pytest.mark.slow

CONFIG = IngestConfig(isolate=True)
KERNELS = {
    "this one": "",
    "no scopes": "kernel_limits._SCOPES = kernel_limits._NETWORK_RIGHTS = 0",
    "no Landlock": "kernel_limits._keep_to = lambda *_: ('switched off', 0)",
}
HOOK = """
import json
from encoder.types import TEXT
from ingest.isolate import kernel_limits
from ingest.kinds.plain import Plain
from ingest.types import Segment
from tests.support.taken_over import attack

{kernel}

def segments(self, asset, path, config):
    world = json.loads(path.read_text().removeprefix("Dear decoder: "))
    yield Segment(asset.asset_id, TEXT, 0, json.dumps(attack(world)))

Plain.segments = segments
"""
BY_ANYBODY = (
    *("fork", "execve", "posix_spawn", "subprocess", "kill", "setpriority", "prlimit", "own limit"),
    *("append", "create", "truncate by opening", "truncate", "mkdir", "rmdir", "rename", "link"),
    *("symlink", "mkfifo", "unlink", "chmod", "utime", "memfd_create", "fchmod", "futimens"),
    *("ftruncate", "flock", "record lock", "signals to another", "asynchronous", "TCP", "UDP"),
    *("unix socket", "netlink", "connect", "connect one of a pair", "sendto by a pair"),
    *("tgkill itself", "prctl itself", "inotify_init1 itself", "adopt children"),
)
"""What anybody may do in a process that is not confined."""


class World:
    """What can be harmed: a file, a folder, a process, and servers."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        self.folder = folder / "victims"
        (self.folder / "inner").mkdir(parents=True)
        for name in ("a", "c", "file"):
            (self.folder / name).write_text(name * 99)
        self.file = self.folder / "file"
        with suppress(OSError):  # not on this file system
            os.setxattr(self.file, "user.mark", b"1")
        self.process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, start_new_session=True)
        )
        stack.callback(self.process.kill)
        self.tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.unix.bind(str(folder / "socket"))
        for server in (self.tcp, self.unix):
            server.setblocking(False)

    def told(self) -> dict[str, Any]:
        return {
            "victim": self.process.pid,
            "file": str(self.file),
            "folder": str(self.folder),
            "port": self.tcp.getsockname()[1],
            "unix": self.unix.getsockname(),
        }

    def state(self) -> dict[str, Any]:
        pid = self.process.pid
        paths = sorted([self.folder, *self.folder.rglob("*")])
        facts = {str(path): path.lstat() for path in paths}
        return {
            "files": {
                path: (f.st_mode, f.st_uid, f.st_gid, f.st_size, f.st_nlink, f.st_ctime_ns)
                for path, f in facts.items()
            },
            "contents": [path.read_bytes() for path in paths if path.is_file()],
            "ended": self.process.poll(),
            "limits": Path(f"/proc/{pid}/limits").read_text(),
            "priority": os.getpriority(os.PRIO_PROCESS, pid),
            "cores": os.sched_getaffinity(pid),
            "policy": os.sched_getscheduler(pid),
            "shared": [Path("/proc/sysvipc", kind).read_text() for kind in ("shm", "sem", "msg")],
            "ours": (os.uname(), Path.cwd(), resource.getrlimit(resource.RLIMIT_NOFILE)),
            "mounts": Path("/proc/self/mountinfo").read_text(),
        }

    def check_nobody_called(self) -> None:
        with pytest.raises(BlockingIOError):
            self.tcp.accept()
        with pytest.raises(BlockingIOError):
            self.unix.recv(1)

    def check_nothing_is_locked(self) -> None:
        with self.file.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path / "world", stack)


@pytest.fixture(params=KERNELS)
def kernel(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Decoder processes as on this kernel; all of them read texts as orders."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK.format(kernel=KERNELS[request.param]))
    monkeypatch.syspath_prepend(str(hook))
    isolate.close()
    yield request.param
    isolate.close()


def test_nothing_that_a_taken_over_decoder_tries_has_an_effect(
    kernel: str, world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    confined = isolate.confinement(CONFIG)
    assert not confined.calls, "this kernel lacks what SECURITY.md counts on"
    assert confined.gaps() == (
        ["read all that this user can read (switched off)"] if kernel == "no Landlock" else []
    )
    orders = tmp_path / "orders.txt"
    orders.write_text("Dear decoder: " + json.dumps(world.told()))
    asset, before = identify(orders, CONFIG), world.state()
    (answer,) = segments(asset, CONFIG)
    outcomes = json.loads(answer.content)
    assert len(outcomes) >= 60
    assert {what: outcome for what, outcome in outcomes.items() if outcome != "refused"} == {}
    assert world.state() == before
    world.check_nobody_called()
    world.check_nothing_is_locked()
    assert "taken over" not in capfd.readouterr().err
    (process,) = isolate.pool._pool._idle
    assert process.is_alive
    assert not _children(process._process.pid)


def test_without_limits_the_same_attack_has_effects(world: World) -> None:
    code = "import json, sys; from tests.support.taken_over import attack\n"
    code += "print(json.dumps(attack(json.loads(sys.argv[1]))))"
    before = world.state()
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(world.told())],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    outcomes = json.loads(done.stdout)
    assert [what for what in BY_ANYBODY if outcomes[what] == "refused"] == []
    assert world.state() != before
    assert "taken over" in done.stderr


def _children(pid: int) -> list[str]:
    """Of all threads of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for children in lists for child in children.read_text().split()]
