"""Servers and programs in processes of their own, and what they use."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 2400.0  # filling a peer's index takes a busy machine half an hour


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def started(
    command: Sequence[object],
    port: int,
    path: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[int]:
    """Run a server until the block ends; enters it with the process's id once it answers.

    Args:
        command: and its words.
        port: where it listens.
        path: answered once it is ready.
        log: takes what it prints.
        env: variables beside those of this process.
        cwd: its working folder.

    Raises:
        RuntimeError: it does not become ready; says what it printed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(env or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{path}", log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"The server is not ready:\n{log.read_text(errors='replace')}")


def tree_cpu_s(pid: int) -> float:
    """User and system seconds so far of a process and all its descendants, ended ones included."""
    return sum(_cpu_s(process) for process in _tree(pid))


def tree_pss_bytes(pid: int) -> int:
    """The memory of a process and all its descendants, pages that they share counted once."""
    return sum(_pss_bytes(process) for process in _tree(pid))


def tree_open_files(pid: int) -> int:
    """How many descriptors a process and all its descendants have."""
    return sum(_open_files(process) for process in _tree(pid))


def ended_children_s(stat: str, ticks_per_s: int = _TICKS) -> float:
    """CPU-seconds of a process's ended children, from its ``/proc/PID/stat``.

    >>> ended_children_s("7 (a (b) c) S " + "0 " * 10 + "100 200 30 40 20", 100)
    0.7
    """
    return sum(map(int, stat.rpartition(")")[2].split()[13:15])) / ticks_per_s


def _tree(pid: int) -> list[int]:
    with suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(word) for task in tasks for word in (task / "children").read_text().split()]
        return [pid, *(process for child in children for process in _tree(child))]
    return [pid]


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        # its own clock: user and system time as `stat` has them, in nanoseconds instead of ticks
        return time.clock_gettime(~pid << 3 | 2) + ended_children_s(stat)
    return 0.0


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _open_files(pid: int) -> int:
    with suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0
