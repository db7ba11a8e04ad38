"""Rounds of a library in use: `anymodal up` loses its server, a store moves to another model."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import httpx

from search.store.lite.shared import served
from search.store.space_record import FolderRecord
from tests.faults import brute
from tests.faults.cluster import BIN, ROOT, Part, answers, wait_for
from tests.faults.counting import content_id
from tests.faults.tiny_worker import SPACE
from tests.support.milvus_server import free_port

_N_KILLS = 3
_LEGAL = {200, 202, 204, 429, 503}


class LivingApi(Part):
    """`anymodal serve` without a broker."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [sys.executable, "-m", "tests.faults.tiny_worker", "serve", "--port", self.port],
            folder / f"api{self.port}.log",
            ANYMODAL_STORE=str(store),
            ANYMODAL_DATA=str(folder / "data"),
            ANYMODAL_INGEST__ISOLATE="false",
            OMP_NUM_THREADS="1",
        )

    def is_ready(self) -> bool:
        """By ``/readyz``."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.uri}/readyz", timeout=10).is_success
        return False


class Client:
    """Uploads, tags, deletes and searches at two APIs until it is ended."""

    def __init__(self, apis: list[LivingApi], seed: int) -> None:
        self.apis, self.chance = apis, random.Random(seed)
        self.ended = Event()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.stored: set[str] = set()
        self.deleted: set[str] = set()
        self.n = seed * 100_000

    def run(self) -> None:
        """Go on until it is ended; whatever is refused is tried again."""
        while not self.ended.is_set():
            asset_id = self._upload()
            if asset_id and self.chance.random() < 0.3:
                self._until("DELETE", f"/v1/assets/{asset_id}")
                self.stored.discard(asset_id)
                self.deleted.add(asset_id)
            self._until("POST", "/v1/search", json={"query": "note"})

    def _upload(self) -> str:
        self.n += 1
        content = f"Note {self.n}. ".encode() * 50
        files = {"file": (f"{self.n}.txt", content)}
        uri, answer = self._until("POST", "/v1/assets", files=files)
        job, until_s = answer.json()["job"]["id"], time.monotonic() + 90
        while (state := httpx.get(f"{uri}/v1/jobs/{job}", timeout=30).json())["state"] != "done":
            if time.monotonic() > until_s:
                self.wrong.append(f"an upload hangs: {state}")
                return ""
            time.sleep(0.1)
        if state["failed"]:
            self.wrong.append(f"an upload failed: {state}")
            return ""
        asset_id = content_id(content)
        self.stored.add(asset_id)
        return asset_id

    def _until(self, method: str, path: str, **options: object) -> tuple[str, httpx.Response]:
        until_s = time.monotonic() + 90
        while True:
            uri = self.chance.choice(self.apis).uri
            answer = httpx.request(method, uri + path, timeout=60, **options)  # type: ignore[arg-type]
            self.statuses[answer.status_code] += 1
            if answer.is_success or answer.status_code == 404:
                return uri, answer
            if answer.status_code not in _LEGAL or time.monotonic() > until_s:
                self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                return uri, answer
            time.sleep(0.2)


def up_loses_its_server(folder: Path, seed: int, n_kills: int = _N_KILLS) -> list[str]:
    """Two APIs on a folder that `anymodal up` shares go on whenever its server is killed.

    Returns:
        What was wrong.
    """
    folder.mkdir(parents=True)
    store, chance = folder / "store", random.Random(seed)
    up = Part([BIN / "anymodal", "up", "--store", store], folder / "up.log")
    apis: list[LivingApi] = []
    try:
        wait_for(lambda: served(store) is not None, 60, "the server")
        apis += [LivingApi(folder, store) for _ in range(2)]
        for api in apis:
            wait_for(lambda api=api: answers(api.port) and api.is_ready(), 90, "the API")
        clients = [Client(apis, seed + number) for number in range(2)]
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(client.run) for client in clients]
            for _ in range(n_kills):
                time.sleep(1 + chance.random() * 2)
                server = served(store)
                assert server, up.log()
                os.kill(server.pid, signal.SIGKILL)
                wait_for(lambda was=server: served(store) not in (None, was), 60, "its restart")
            for api in apis:
                wait_for(api.is_ready, 30, "the API after the kills")
            time.sleep(2)
            for client in clients:
                client.ended.set()
            for future in running:
                future.result(timeout=200)
        wrong = [fault for client in clients for fault in client.wrong]
        stored = {one for client in clients for one in client.stored}
    finally:
        for part in (*apis, up):
            part.process.terminate()
        for part in (*apis, up):
            with suppress(Exception):
                part.process.wait(20)
            part.kill()
    if not any(client.statuses[200] for client in clients):
        wrong.append("no search was answered")
    return wrong + _faults(store, stored)


def _faults(store: Path, stored: set[str]) -> list[str]:
    current = FolderRecord(store).read()
    assert current
    assert current.space == SPACE.fingerprint
    with brute.copied(store) as copy:
        rows = brute.read_folder(copy, current.space)
        wrong = brute.faults_of_record(rows)
        wrong += brute.faults_of_index(copy, current.space, rows)
    return wrong + [f"{one} is lost or came back" for one in rows.world.keys() ^ stored]


def moves_while_watched(_folder: Path, _seed: int) -> list[str]:
    """A store moves to the default model, is killed and goes on, while others name no model."""
    words = ["-m", "pytest", "-q", "tests/integration/test_reindex_observed.py", "-m", "not milvus"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    return [done.stdout[-2000:]] if done.returncode else []


LIVING = {
    "up loses its server": up_loses_its_server,
    "moves while watched": moves_while_watched,
}
"""Rounds that have no cluster; each returns what was wrong."""
