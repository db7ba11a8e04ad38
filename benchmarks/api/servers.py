"""Servers and stores in their own processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.milvus_server import free_port

_READY_S = 2400.0  # filling a peer's index with 100,000 texts takes a busy machine half an hour


@contextmanager
def serving(
    store: str, log: Path, *options: str, baseline: bool = False
) -> Iterator[tuple[int, int]]:
    """Run `anymodal serve` on a store, or the baseline, until the block ends; its port and PID.

    Raises:
        RuntimeError: it does not become ready; says what it printed.
    """
    port = free_port()
    command = (
        [sys.executable, "-m", "benchmarks.api.peers.plain_encoder"]
        if baseline
        else [str(Path(sys.executable).with_name("anymodal")), "serve"]
    )
    words = [*command, "--port", str(port), "--store", store, *options]
    with started(words, port, "/readyz", log) as process:
        yield port, process.pid


@contextmanager
def started(
    command: Sequence[str], port: int, path: str, log: Path, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; enters the block once it answers at ``path``.

    Raises:
        RuntimeError: it does not become ready; says what it printed.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{path}", log)
        yield process
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
