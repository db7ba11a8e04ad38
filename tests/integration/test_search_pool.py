"""``anymodal serve --processes``: several processes answer queries, and clients see one server."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from encoder.types import QUERY, TEXT, Item
from search.deadline import Budget
from search.query.query import Query
from tests.integration.test_serve import serving
from tests.support.waiting import wait_for
from workers.config import current_settings
from workers.serving import search_pool
from workers.serving.engines import open_engine
from workers.serving.resources import Resources
from workers.serving.search_pool import SearchPool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bundle_home")]
WHOLE_NAME = 8.0
"""What a name that holds a question adds to a score, at least."""
TEXTS = {
    "tide.txt": "The tide comes in twice a day.",
    "bread.txt": "Knead the dough, let it rise, and bake the bread in a hot oven.",
    "zug.txt": "Der Zug nach Hamburg fährt um acht Uhr von Gleis drei.",
    "engine.txt": "Check the oil before you start the engine.",
}


def add(client: httpx.Client, texts: dict[str, str]) -> None:
    files = [("file", (name, text.encode())) for name, text in texts.items()]
    answer = client.post("/v1/assets", files=files, data={"wait": "true"})
    assert answer.json()["job"]["state"] == "done", answer.text


def search_processes(server_pid: int) -> list[int]:
    listed = subprocess.run(
        ["pgrep", "--parent", str(server_pid), "--full", "search_process"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [int(pid) for pid in listed.stdout.split()]


def hits(client: httpx.Client, text: str) -> list[tuple[str, float]]:
    answer = client.post("/v1/search", json={"query": [{"text": text}]})
    assert answer.status_code == 200, answer.text
    return [(hit["asset_id"], round(hit["score"], 4)) for hit in answer.json()["hits"]]


def at_once(client: httpx.Client, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
    with ThreadPoolExecutor(12) as threads:
        return list(threads.map(partial(hits, client), texts))


def busy_until_started(client: httpx.Client, server: subprocess.Popen[str]) -> int:
    """The id of the further process, which a busy server starts."""
    for n in range(600):
        at_once(client, [f"question {n} number {m}" for m in range(12)])
        if (pids := search_processes(server.pid)) and _answers(client):
            return pids[0]
    raise AssertionError("no further process was started")


def _answers(client: httpx.Client) -> bool:
    """Whether some of these are encoded elsewhere: they are in no cache of the first process."""
    texts = [f"{time.monotonic()} {n}" for n in range(12)]
    at_once(client, texts)
    before = misses(client)
    for text in texts:
        hits(client, text)  # alone, so in the first process
    return misses(client) > before


def misses(client: httpx.Client) -> float:
    figures = client.get("/metrics").text
    name = "anymodal_query_cache_misses "
    return next(float(line[len(name) :]) for line in figures.splitlines() if line.startswith(name))


def test_all_processes_give_the_same_answers_and_count_as_one(tmp_path: Path) -> None:
    with serving(tmp_path, "--processes", "2") as (server, client):
        add(client, TEXTS)
        questions = [f"{word} {n}" for n in range(10) for word in ("tide", "bread", "Zug", "oil")]
        wait_for(lambda: hits(client, "bread 0")[0][1] > WHOLE_NAME)
        alone = [hits(client, text) for text in questions]
        assert not search_processes(server.pid)  # one person needs no second process
        busy_until_started(client, server)
        before = misses(client)
        n_searches = count(client)
        assert at_once(client, questions) == alone
        assert count(client) == n_searches + len(questions)
        assert misses(client) > before  # those that the other process had not encoded

        add(client, {"moon.txt": "The moon draws the sea towards it."})
        answers = at_once(client, [f"what draws the sea {n}?" for n in range(24)])
        (moon,) = {answer[0][0] for answer in answers}  # all see what was just written
        assert client.delete(f"/v1/assets/{moon}").is_success
        assert all(
            moon not in dict(answer)
            for answer in at_once(client, [f"who draws the sea {n}?" for n in range(24)])
        )
        refused = client.post("/v1/search", json={"query": [{"asset_id": "0" * 64}]})
        assert refused.status_code == 404
        (pid,) = search_processes(server.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert not alive(pid)


def count(client: httpx.Client) -> int:
    totals: dict[str, Any] = client.get("/v1/latency").json()["windows"]["5m"]["total"]
    return int(totals["n"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_no_query_is_lost_with_a_process(tmp_path: Path) -> None:
    with serving(tmp_path, "--processes", "2") as (server, client):
        add(client, TEXTS)
        pid = busy_until_started(client, server)
        questions = [f"the bread in the oven {n}" for n in range(200)]
        with ThreadPoolExecutor(12) as threads:
            answers = [threads.submit(hits, client, text) for text in questions]
            answers[40].result()
            os.kill(pid, signal.SIGKILL)
            first = {answer.result()[0][0] for answer in answers}
        assert len(first) == 1
        other = busy_until_started(client, server)
        assert other != pid
        with ThreadPoolExecutor(12) as threads:
            asked = [threads.submit(hits, client, f"{text}, again") for text in questions]
            asked[40].result()
            server.kill()  # the process ends with its server, and without complaint
        deadline_s = time.monotonic() + 30
        while alive(other) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert not alive(other)
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchPool]:
    """Over a folder of texts, with one further process, which ends after a second without work."""
    monkeypatch.setattr(search_pool, "_REST_S", 1.0)
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    media = tmp_path / "media"
    media.mkdir()
    for name, text in TEXTS.items():
        (media / name).write_text(text)
    settings = current_settings()
    with closing(Resources(settings)) as resources:
        resources.pipeline().run([str(media)])
        model = resources.encoder()
        engine, _ = open_engine(model, resources.store(), settings.api, lambda *_: None)
        with closing(SearchPool(engine, settings, model.model, 1, lambda *_: None)) as pool:
            yield pool


def best_ids(pool: SearchPool, texts: Sequence[str]) -> list[str]:
    def best_id(text: str) -> str:
        return pool.search(Query([Item(TEXT, text, QUERY)]), Budget(60, 60)).hits[0].asset_id

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(best_id, texts))


def started(pool: SearchPool) -> int:
    """The id of the further process, once it was started and has answered."""
    for n in range(600):
        best_ids(pool, [f"question {n} number {m}" for m in range(8)])
        if pool.n_encoded:
            return search_processes(os.getpid())[0]
    raise AssertionError("no further process was started")


def test_a_process_without_work_ends_and_is_started_again(pool: SearchPool) -> None:
    pid = started(pool)
    deadline_s = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not alive(pid)
    pool.n_encoded = 0
    assert started(pool) != pid


def test_what_cannot_be_sent_is_answered_here(pool: SearchPool) -> None:
    class Dictated(str):
        """A text of a plug-in that another process does not know."""

    texts = [f"bread in the oven {n}" for n in range(40)]
    (bread,) = {*best_ids(pool, texts)}
    started(pool)
    assert {*best_ids(pool, [Dictated(text) for text in texts])} == {bread}
