"""Uploads to an API that is killed while they arrive."""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import httpx

from tests.faults.cluster import Part
from tests.support.milvus_server import free_port
from tests.support.waiting import wait_for

_CLIENTS = 4
_FILES_PER_KILL = 20


class Api(Part):
    """`anymodal serve` with the tiny model, and these settings."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [sys.executable, "-m", "tests.faults.tiny_worker", "serve", "--port", self.port],
            folder / f"api{self.port}.log",
            **env,
        )

    def is_ready(self) -> bool:
        """By ``/readyz``."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.uri}/readyz", timeout=10).is_success
        return False


def upload_all(api: Api, files: list[Path], chance: random.Random) -> int:
    """Send each file until acknowledged, killing the API; return how many were at the first kill.

    A client that got no answer does not know whether its file was taken, and sends it again.
    """
    kill_at = sorted(chance.sample(range(2, len(files) // 2), len(files) // _FILES_PER_KILL))
    first_acknowledged = 0
    n_sent = 0
    ended = Event()

    def send(path: Path) -> None:
        nonlocal n_sent
        while not ended.is_set():
            try:
                with path.open("rb") as file:
                    answer = httpx.post(
                        f"{api.uri}/v1/assets",
                        files={"file": (path.name, file)},
                        timeout=30,
                    )
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if answer.is_success:
                n_sent += 1
                return
            assert answer.status_code in (429, 503), answer.text
            time.sleep(0.2)

    with ThreadPoolExecutor(_CLIENTS) as pool:
        sending = [pool.submit(send, path) for path in files]
        try:
            for n in kill_at:
                wait_for(lambda n=n: n_sent >= n, 90, f"{n} uploads")
                api.kill()
                first_acknowledged = first_acknowledged or n_sent
                time.sleep(chance.random())
                api.start()
                wait_for(api.is_ready, 90, "the API")
            for future in sending:
                future.result(timeout=120)
        finally:
            ended.set()
    return first_acknowledged
