"""Under load: the loop keeps running, excess requests are refused, abandoned work stops."""

import asyncio
import base64
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as threads

import httpx

from encoder.errors import AnymodalError
from search.api.bounded_threads import Workbench
from search.api.services import Services
from search.deadline import Deadline
from search.errors import CancelledError, TimeLimitError
from search.query.query import Query
from search.request_id import current_request_id, serving
from search.types import SearchResult
from tests.integration.api.conftest import served
from tests.integration.api.wire import connect, hang_up, request
from tests.support.waiting import wait_for

SEARCH = {"query": "rain"}


class Stuck:
    """An engine that works until it is released or its deadline ends."""

    def __init__(self) -> None:
        self.begun, self.released = Event(), Event()
        self.ended_by: list[AnymodalError] = []
        self.ended = Event()

    def search(self, _: Query, deadline: Deadline) -> SearchResult:
        self.begun.set()
        while not self.released.wait(0.005):
            try:
                deadline.check()
            except AnymodalError as error:
                self.ended_by.append(error)
                self.ended.set()
                raise
        return SearchResult([], {"total": 0.0})


@contextmanager
def stuck(
    parts: Services, threads: int = 4, queue: int = 4, timeout_s: float = 60.0
) -> Iterator[tuple[httpx.Client, Stuck]]:
    engine, workbench = Stuck(), Workbench(threads, queue, timeout_s)
    changed = replace(parts, searches=engine, workbench=workbench)  # type: ignore[arg-type]
    with served(changed) as client:
        yield client, engine
        engine.released.set()
    workbench.close()


def test_the_loop_goes_on_while_all_threads_are_stuck(parts: Services) -> None:
    with stuck(parts) as (client, engine), ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.post, "/v1/search", json=SEARCH) for _ in range(4)]
        engine.begun.wait()
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        engine.released.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 4


def test_what_cannot_wait_is_asked_to_come_back(parts: Services) -> None:
    with stuck(parts, threads=1, queue=1) as (client, engine), ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, "/v1/search", json=SEARCH) for _ in range(8)]
        refused = _first_done(asked, 6)
        assert {answer.status_code for answer in refused} == {503}
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert refused[0].json()["error"]["type"] == "OverloadedError"
        engine.released.set()
        assert sorted(one.result().status_code for one in asked) == [200] * 2 + [503] * 6


def _first_done(asked: list, n: int) -> list[httpx.Response]:  # type: ignore[type-arg]
    from concurrent.futures import as_completed

    done = as_completed(asked)
    return [next(done).result() for _ in range(n)]


def test_a_search_that_takes_too_long_is_ended(parts: Services) -> None:
    with stuck(parts, timeout_s=0.2) as (client, engine):
        answer = client.post("/v1/search", json=SEARCH)
        assert answer.status_code == 504
        assert answer.json()["error"]["type"] == "TimeLimitError"
        while not engine.ended.wait(1):  # on a busy machine, it may time out before it begins
            assert client.post("/v1/search", json=SEARCH).status_code == 504
        assert isinstance(engine.ended_by[0], TimeLimitError | CancelledError)


def test_a_client_that_leaves_ends_its_search(parts: Services) -> None:
    with stuck(parts) as (client, engine):
        kind = {"Content-Type": "application/json", "Content-Length": "17"}
        leaving = connect(client, request("POST", "/v1/search", kind) + b'{"query": "rain"}')
        assert engine.begun.wait(30)
        hang_up(leaving)
        assert engine.ended.wait(30)
        assert isinstance(engine.ended_by[0], CancelledError)


@contextmanager
def watched(loop_thread: int) -> Iterator[set[str]]:
    """The files in which the loop's thread was seen, looked at every few milliseconds."""
    seen: set[str] = set()
    stop = Event()

    def watch() -> None:
        while not stop.wait(0.002):
            frame = sys._current_frames().get(loop_thread)
            while frame is not None:
                seen.add(frame.f_code.co_filename)
                frame = frame.f_back

    watchdog = Thread(target=watch)
    watchdog.start()
    try:
        yield seen
    finally:
        stop.set()
        watchdog.join()


def test_no_work_is_done_in_the_loops_thread(parts: Services, folder: Path) -> None:
    """Checked by where the thread is seen, not by the clock, which a busy machine would upset."""
    picture = base64.b64encode((folder / "sky.jpg").read_bytes()).decode()
    before = set(threads())
    with served(parts) as client:
        (loop_thread,) = [t for t in set(threads()) - before if t.name == "server"]
        calls: list[Callable[[], httpx.Response]] = [
            lambda: client.post("/v1/search", json={"query": "a dog in the rain " * 200}),
            lambda: client.post("/v1/search", json={"query": [{"image": picture}]}),
            lambda: client.post("/v1/embeddings", json={"input": ["rain"] * 50}),
            lambda: client.post("/v1/assets", files={"file": ("a.bin", bytes(3_000_000))}),
            lambda: client.get("/v1/assets"),
            lambda: client.get("/v1/latency"),
            lambda: client.get("/readyz"),
        ]
        with watched(loop_thread.ident or 0) as seen, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda call: call(), calls * 4))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert any("uvicorn" in name or asyncio.__name__ in name for name in seen)
    root = str(Path(__file__).parents[3])
    own = {name.removeprefix(f"{root}/") for name in seen if name.startswith(f"{root}/")}
    working = (
        "encoder/",
        "ingest/",
        "workers/",
        "search/engine",
        "search/store/",
        "search/latency",
    )
    assert [name for name in own if name.startswith(working)] == []


def test_what_work_logs_knows_whose_request_it_is() -> None:
    async def work() -> str:
        with serving("mine-1"):
            return await workbench.run(lambda _: current_request_id())

    workbench = Workbench(1, 1, 30.0)
    with ThreadPoolExecutor(1) as pool:  # a test in a browser leaves a loop in this thread
        assert pool.submit(asyncio.run, work()).result() == "mine-1"
    workbench.close()


def test_short_queries_that_come_together_find_what_each_finds_alone(parts: Services) -> None:
    words = "bread rocket sky tone dough orbit oven loaf".split()
    with served(parts) as client:

        def found(word: str) -> list[tuple[str, float]]:
            answer = client.post("/v1/search", json={"query": f"a {word}"}).raise_for_status()
            return [(hit["segment_id"], round(hit["score"], 5)) for hit in answer.json()["hits"]]

        def named_sky() -> bool:
            body = {"query": "sky", "explain": True}
            hits = client.post("/v1/search", json=body).raise_for_status().json()["hits"]
            return any(hit["explanation"]["named"] > 0 for hit in hits)

        wait_for(named_sky)  # the names of files that were stored a moment ago are read again
        alone = [found(word) for word in words]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(10):
                assert list(pool.map(found, words)) == alone
