"""Rounds of a library in use.

`anymodal up` loses its server, a store moves to another model, a folder loses its disk.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from threading import Event

import httpx

from search.store.lite.shared import served
from search.store.open import open_store
from search.store.space_record import FolderRecord
from tests.faults import brute
from tests.faults.cluster import BIN, Part, answers, wait_for
from tests.faults.counting import content_id
from tests.faults.disk import mounted, small_disk
from tests.faults.tiny_worker import DIM
from tests.support.milvus_server import free_port

_N_KILLS = 3
_MODELS = ("bundle:english", "bundle:multilingual")
_LEGAL = {200, 202, 204, 429, 503}


class LivingApi(Part):
    """`anymodal serve` without a broker."""

    def __init__(self, folder: Path, store: Path, *words: str) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        super().__init__(
            [
                sys.executable,
                "-m",
                "tests.faults.tiny_worker",
                *words,
                "serve",
                "--port",
                self.port,
            ],
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
    with brute.copied(store) as copy:
        rows = brute.read_folder(copy, current.space)
        wrong = brute.faults_of_record(rows)
        wrong += brute.faults_of_index(copy, current.space, rows)
    return wrong + [f"{one} is lost or came back" for one in rows.world.keys() ^ stored]


class Observer:
    """Tags and searches at an API until it is ended; it names no model."""

    def __init__(self, api: LivingApi, asset_ids: set[str], seed: int) -> None:
        self.api, self.asset_ids, self.chance = api, asset_ids, random.Random(seed)
        self.ended = Event()
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.tags: dict[str, set[str]] = {asset_id: set() for asset_id in asset_ids}

    def run(self) -> None:
        """Go on until it is ended; what is refused for the moment is left."""
        while not self.ended.is_set():
            answer = self._ask("POST", "/v1/search", json={"query": "note", "limit": 50})
            if answer.status_code == 200:
                seen = {hit["asset_id"] for hit in answer.json()["hits"]}
                if seen != self.asset_ids:
                    self.wrong.append(f"{len(seen)} of {len(self.asset_ids)} are found")
            asset_id = self.chance.choice(sorted(self.asset_ids))
            tag = f"tag{self.chance.randrange(10**9)}"
            path, change = f"/v1/assets/{asset_id}", {"add_tags": [tag]}
            if self._ask("PATCH", path, json=change).status_code == 200:
                self.tags[asset_id].add(tag)

    def tags_lost(self) -> list[str]:
        """The tags that were acknowledged and are not there."""
        wrong = []
        for asset_id, tags in self.tags.items():
            answer = self._ask("GET", f"/v1/assets/{asset_id}")
            if lost := tags - set(answer.json().get("tags", [])):
                wrong.append(f"{len(lost)} of {len(tags)} tags of {asset_id} are lost")
        return wrong

    def _ask(self, method: str, path: str, **options: object) -> httpx.Response:
        answer = httpx.request(method, self.api.uri + path, timeout=60, **options)  # type: ignore[arg-type]
        self.statuses[answer.status_code] += 1
        if answer.status_code not in _LEGAL:
            self.wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer


def moves_while_watched(folder: Path, seed: int, n_moves: int = 3) -> list[str]:
    """A shared store moves from model to model, often killed, while APIs that name none go on.

    Returns:
        What was wrong.
    """
    folder.mkdir(parents=True)
    store, chance, media = folder / "store", random.Random(seed), folder / "media"
    media.mkdir()
    (queries := folder / "queries.txt").write_text("note\n")
    notes = [f"Note {number} of {seed}. ".encode() * 20 for number in range(16)]
    for number, note in enumerate(notes):
        (media / f"{number}.txt").write_bytes(note)
    up = Part([BIN / "anymodal", "up", "--store", store], folder / "up.log")
    parts: list[Part] = [up]

    def command(*words: object, **env: str) -> Part:
        parts.append(_named(folder, store, *words, **env))
        return parts[-1]

    def moving(model: str, **env: str) -> Part:
        words = ("--model", model, "--precision", "none", "--queries", queries)
        return command("store", "reindex", *words, "--json", **env)

    try:
        wait_for(lambda: served(store) is not None, 60, "the server")
        named = {"ANYMODAL_ENCODER__MODEL": _MODELS[0]}  # until the store knows its model
        for begin in (partial(command, "ingest", media, "--json"), partial(moving, _MODELS[1])):
            first = begin(**named)
            assert first.process.wait(120) == 0, first.log()
        apis = [LivingApi(folder, store, "named") for _ in range(2)]
        parts += apis
        for api in apis:
            wait_for(lambda api=api: answers(api.port) and api.is_ready(), 90, "the API")
        ids = set(map(content_id, notes))
        observers = [Observer(api, ids, seed + number) for number, api in enumerate(apis)]
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(observer.run) for observer in observers]
            try:
                for number in range(n_moves):
                    model = _MODELS[number % 2]
                    while model not in _searched_models(store):
                        part = moving(model)
                        with suppress(subprocess.TimeoutExpired):
                            part.process.wait(
                                120 if chance.random() < 0.5 else chance.uniform(1, 8)
                            )
                        part.kill()
                time.sleep(3)
            finally:
                for observer in observers:
                    observer.ended.set()
            for future in running:
                future.result(timeout=100)
        wrong = [fault for observer in observers for fault in observer.wrong]
        wrong += [fault for observer in observers for fault in observer.tags_lost()]
        if not all(observer.statuses[200] for observer in observers):
            wrong.append("no search was answered")
    finally:
        for part in reversed(parts):
            part.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                part.process.wait(20)
            part.kill()
    return wrong + _faults(store, ids)


def _named(folder: Path, store: Path, *words: object, **env: str) -> Part:
    settings = {"STORE": str(store), "DATA": str(folder / "data"), "INGEST__ISOLATE": "false"}
    env |= {f"ANYMODAL_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "tests.faults.tiny_worker", "named", *words]
    return Part(command, folder / "commands.log", **env)


def _searched_models(store: Path) -> list[str]:
    current = FolderRecord(store).read()
    return current.models[:1] if current else []


def loses_its_disk(folder: Path, seed: int, n_times: int = 3) -> list[str]:
    """A watched folder's disk goes and comes back; only what was deleted on it is gone.

    Returns:
        What was wrong.
    """
    folder.mkdir(parents=True)
    store, root, chance = folder / "store", folder / "library", random.Random(seed)
    root.mkdir()
    (root / ".keep").touch()
    wrong: list[str] = []
    with small_disk(folder / "device", 8) as disk, ExitStack() as stack:
        for number in range(12):
            (disk.folder / f"{number}.txt").write_text(f"Note {number} of {seed}.")
        deleted: set[str] = set()
        there = stack.enter_context(ExitStack())
        there.enter_context(mounted(disk.folder, root))
        watch = _named(folder, store, "watch", root, "--every", "1", "--quiet", "0.2")
        stack.callback(watch.kill)
        wait_for(lambda: _gone(store) == (12, set()), 60, "the first look")
        for _ in range(n_times):
            there.close()
            time.sleep(chance.uniform(1, 5))
            if (seen := _gone(store)) != (12, deleted):
                wrong.append(f"without its disk, {seen} are gone, not {deleted}")
            there.enter_context(mounted(disk.folder, root))
            if chance.random() < 0.7:
                name = chance.choice(sorted(path.name for path in disk.folder.glob("*.txt")))
                (root / name).unlink()
                deleted.add(name)
            wait_for(lambda: _gone(store) == (12, deleted), 60, f"that {deleted} are gone")
    return wrong


def _gone(store: Path) -> tuple[int, set[str]]:
    """How many are stored, and the names of those that are gone."""
    current = FolderRecord(store).read()
    if current is None:
        return 0, set()
    with closing(open_store(str(store), current.space, DIM, hold=False, create=False)) as opened:
        rows = list(opened.scan())
    return len(rows), {Path(row.locations[0]).name for row in rows if row.is_gone}


LIVING = {
    "up loses its server": up_loses_its_server,
    "moves while watched": moves_while_watched,
    "loses its disk": loses_its_disk,
}
"""Rounds that have no cluster; each returns what was wrong."""
