"""Two APIs on a folder that `anymodal up` shares go on whenever its server is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

import httpx
import pytest

from search.store.lite.shared import served
from search.store.space_record import FolderRecord
from tests.faults import brute
from tests.faults.cluster import BIN, Part
from tests.faults.counting import content_id
from tests.faults.uploads import Api
from tests.support.waiting import wait_for

_LEGAL = {200, 202, 204, 429, 503}
N_KILLS = 3


class Client:
    """Uploads, deletes and searches at two APIs until it is ended."""

    def __init__(self, apis: list[Api], seed: int) -> None:
        self.apis, self.chance = apis, random.Random(seed)
        self.ended = Event()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.stored: set[str] = set()
        self.n = seed * 100_000

    def run(self) -> None:
        """Go on until it is ended; whatever is refused is tried again."""
        while not self.ended.is_set():
            asset_id = self._upload()
            if asset_id and self.chance.random() < 0.3:
                self._until("DELETE", f"/v1/assets/{asset_id}")
                self.stored.discard(asset_id)
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


@pytest.mark.slow
def test_a_library_in_use_goes_on_without_its_server(tmp_path: Path) -> None:
    store, chance = tmp_path / "store", random.Random(1)
    up = Part([BIN / "anymodal", "up", "--store", store], tmp_path / "up.log")
    apis: list[Api] = []
    settings = {"STORE": str(store), "DATA": str(tmp_path / "data"), "INGEST__ISOLATE": "false"}
    env = {f"ANYMODAL_{name}": value for name, value in settings.items()}
    try:
        wait_for(lambda: served(store) is not None, 60, "the server")
        apis += [Api(tmp_path, OMP_NUM_THREADS="1", **env) for _ in range(2)]
        for api in apis:
            wait_for(api.is_ready, 90, "the API")
        clients = [Client(apis, 1 + number) for number in range(2)]
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(client.run) for client in clients]
            for _ in range(N_KILLS):
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
    finally:
        for part in (*apis, up):
            part.process.terminate()
        for part in (*apis, up):
            with suppress(Exception):
                part.process.wait(20)
            part.kill()
    assert any(client.statuses[200] for client in clients), "no search was answered"
    assert [fault for client in clients for fault in client.wrong] == []
    assert _faults(store, {one for client in clients for one in client.stored}) == []


def _faults(store: Path, stored: set[str]) -> list[str]:
    current = FolderRecord(store).read()
    assert current
    with brute.copied(store) as copy:
        rows = brute.read_folder(copy, current.space)
        wrong = brute.faults_of_record(rows)
        wrong += brute.faults_of_index(copy, current.space, rows)
    return wrong + [f"{one} is lost or came back" for one in rows.world.keys() ^ stored]
