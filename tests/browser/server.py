"""`anymodal serve` in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx

from tests.support.milvus_server import free_port

ANYMODAL = Path(sys.executable).with_name("anymodal")
_READY_S = 120


@dataclass(frozen=True)
class Server:
    """Where the page is."""

    url: str


def environment(home: Path, **extra: str) -> dict[str, str]:
    """The environment of a command whose data are in ``home``."""
    store, data = str(home / "store"), str(home / "data")
    return {**os.environ, "ANYMODAL_STORE": store, "ANYMODAL_DATA": data, **extra}


@contextmanager
def serving(home: Path, library: Path | None = None, **extra: str) -> Iterator[Server]:
    """Ingest a library into a store in ``home``, serve it, and stop at the end."""
    env = environment(home, **extra)
    if library is not None:
        ingest = [ANYMODAL, "ingest", library]
        subprocess.run(ingest, env=env, cwd=home, check=True, capture_output=True)
    url = f"http://127.0.0.1:{free_port()}"
    log = home / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ANYMODAL, "serve", "--port", url.rpartition(":")[2]],
            env=env,
            cwd=home,
            stdout=output,
            stderr=output,
        )
        try:
            _wait_until_ready(url, process, log)
            yield Server(url)
        finally:
            process.terminate()
            process.wait(60)
    assert "Traceback" not in log.read_text()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = monotonic() + _READY_S
    while monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        sleep(0.2)
    raise AssertionError(f"not ready within {_READY_S} s: {log.read_text()}")
