"""Partial requests, slow ones, and too many: the server keeps serving well-behaved clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import sleep

import httpx
import pytest

from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.config import ApiConfig
from search.api.metrics import Metrics
from search.api.services import Services
from tests.integration.api.conftest import served
from tests.integration.api.wire import (
    HALF_HEAD,
    SILENCE,
    Endless,
    bearer,
    connect,
    half_body,
    hang_up,
    heard,
    held,
    request,
)
from tests.support.waiting import wait_for

N_HALF = 1200
SPREAD = [f"127.0.{1 + n // 200}.{1 + n % 200}" for n in range(N_HALF)]
SAME = ["127.0.0.1"] * N_HALF
SEARCH = {"query": "rain"}


@contextmanager
def limited(
    parts: Services, ring: KeyRing | None = None, **limits: object
) -> Iterator[tuple[httpx.Client, Metrics]]:
    """A server with these limits, which asks for a key of the ring."""
    metrics, config = Metrics(), ApiConfig.model_validate(limits)
    access = Access(ring, required=True) if ring else parts.access
    with served(replace(parts, config=config, metrics=metrics, access=access)) as client:
        yield client, metrics


@pytest.fixture
def key(ring: KeyRing) -> str:
    """A key that may read."""
    return ring.create("good", ["read"], 60_000)[1]


def is_answered(client: httpx.Client, key: str) -> bool:
    """Whether a search over a new connection is answered, rather than asked to come back."""
    with httpx.Client(base_url=client.base_url, timeout=60) as good:
        answer = good.post("/v1/search", json=SEARCH, headers=bearer(key))
    assert answer.status_code in (200, 429), answer.text
    return answer.status_code == 200


SAID: dict[str, Callable[[str], bytes]] = {
    "silence": lambda _: SILENCE,
    "head": lambda _: HALF_HEAD,
    "body": half_body,
    "refused": lambda _: half_body(),
}


@pytest.mark.parametrize(
    ("said", "sources", "proxies"),
    [
        (SAID["silence"], SPREAD, ["127.0.0.0/8"]),
        (SAID["head"], SPREAD, ["127.0.0.0/8"]),
        (SAID["body"], SAME, []),
        (SAID["refused"], SAME, []),
    ],
    ids=SAID,
)
def test_half_requests_do_not_keep_a_keyedclient_out(
    parts: Services,
    ring: KeyRing,
    key: str,
    said: Callable[[str], bytes],
    sources: list[str],
    proxies: list[str],
) -> None:
    with (
        # None is dropped for being slow: a client that waited for that would get no answer.
        limited(parts, ring, proxies=proxies, head_s=600, body_s=600) as (client, _),
        held(client, said(key), sources),
    ):
        # Twenty in a row, once the partial requests have stalled.
        wait_for(lambda: all(is_answered(client, key) for _ in range(20)))


def test_a_head_that_does_not_come_is_given_up(parts: Services) -> None:
    with (
        limited(parts, head_s=0.5) as (client, metrics),
        connect(client, HALF_HEAD) as half,
        connect(client) as silent,
        connect(client, request("GET", "/healthz")) as second,
    ):
        answer = b""
        while not answer.endswith(b"}"):  # head and body may arrive separately
            answer += second.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        second.sendall(HALF_HEAD)
        for late in (half, second):
            assert heard(late).startswith(b"HTTP/1.1 408")
        assert heard(silent) == b""
        assert client.get("/healthz").status_code == 200
        assert 'cut_total{reason="slow"} 3.0' in metrics.text().decode()


def test_a_trickle_is_cut_and_counted_as_408(
    parts: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with limited(parts, body_s=1, head_s=60) as (client, metrics), connect(client) as slow:
        slow.sendall(half_body())
        for _ in range(60):
            try:
                slow.sendall(b"x")
            except OSError:
                break
            sleep(0.1)
        answer = heard(slow)
        assert answer.startswith(b"HTTP/1.1 408") or not answer  # the reset may come first
        wait_for(lambda: 'endpoint="search",status="408"' in metrics.text().decode())
    assert "Traceback" not in caplog.text
    assert "search 408 in" in caplog.text


def test_a_slow_upload_that_moves_is_taken(parts: Services) -> None:
    def slowly() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="slow.txt"\r\n\r\n'
        for _ in range(30):
            sleep(0.1)
            yield b"a line of a text that takes its time, as on a bad line\n" * 3
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    with limited(parts, body_s=2, head_s=2, min_bytes_per_s=1) as (client, _):
        answer = client.post("/v1/assets", content=slowly(), headers=kind)
        assert answer.status_code == 202, answer.text


def test_aclient_that_takes_nothing_of_its_answer_is_cut(parts: Services, big_asset: str) -> None:
    with (
        limited(parts, write_s=1) as (client, metrics),
        connect(client, request("GET", f"/v1/assets/{big_asset}/content")),
    ):
        wait_for(lambda: 'endpoint="get_content",status="408"' in metrics.text().decode())


def test_who_waits_for_the_server_is_not_slow(parts: Services) -> None:
    with limited(parts, head_s=0.5, body_s=0.5, write_s=0.5) as (client, _):
        sent = client.post("/v1/assets", files=[("file", ("a.txt", b"A text."))])
        job_id = sent.json()["job"]["id"]
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            assert "event: end" in "".join(answer.iter_text())


def test_a_head_without_an_end_is_refused(parts: Services) -> None:
    with limited(parts) as (client, metrics), connect(client, HALF_HEAD) as endless:
        try:
            for _ in range(100):
                endless.sendall(b"x" * 8192)
        except OSError:
            pass
        answer = heard(endless)
        assert answer.startswith(b"HTTP/1.1 431") or not answer  # the reset may come first
        assert 'cut_total{reason="head"} 1.0' in metrics.text().decode()
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        ({"max_connections": 3}, 503, "full"),
        ({"max_connections_per_address": 3, "proxies": []}, 429, "address"),
    ],
)
def test_beyond_the_limit_clients_are_asked_to_come_back(
    parts: Services, limits: dict[str, object], status: int, reason: str
) -> None:
    """The busy connections follow jobs: no slot is held for nothing."""
    endless = replace(parts, jobs=Endless())  # type: ignore[arg-type]
    follow, ask = request("GET", "/v1/jobs/any/events"), request("GET", "/healthz")
    with limited(endless, **limits) as (client, metrics), held(client, follow, SAME[:3]) as busy:
        for one in busy:
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        for n in range(1, 51):
            with connect(client, ask) as late:
                answer = heard(late)
            assert answer.startswith(b"HTTP/1.1 %d" % status)
            assert f'cut_total{{reason="{reason}"}} {n}.0' in metrics.text().decode()
        assert b"retry-after: 1" in answer
        assert "anymodal_http_connections 3.0" in metrics.text().decode()


FORM = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "5000000"}
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


@contextmanager
def logged(
    parts: Services, caplog: pytest.LogCaptureFixture
) -> Iterator[tuple[httpx.Client, Callable[[str], None]]]:
    """A server, and a check that one request of an endpoint counts as 499 and nothing is wrong."""
    caplog.set_level("INFO")
    metrics = Metrics()

    def counted(endpoint: str) -> None:
        asked = f'anymodal_http_requests_total{{endpoint="{endpoint}",status="499"}} 1.0'
        wait_for(lambda: asked in metrics.text().decode())

    with served(replace(parts, metrics=metrics)) as client:
        yield client, counted
    assert re.search(r"\w+ 499 in [\d.]+ ms", caplog.text)
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert 'status="5' not in metrics.text().decode()


def test_in_the_middle_of_an_upload(parts: Services, caplog: pytest.LogCaptureFixture) -> None:
    incoming = parts.uploads.folder / "incoming"
    with (
        logged(parts, caplog) as (client, counted),
        connect(client, request("POST", "/v1/assets", FORM) + PART + b"x" * 100_000) as connection,
    ):
        wait_for(lambda: any(incoming.glob("*")))
        hang_up(connection)
        counted("upload_assets")
        wait_for(lambda: not any(incoming.glob("*")))


def test_in_the_middle_of_a_search(parts: Services, caplog: pytest.LogCaptureFixture) -> None:
    kind = {"Content-Type": "application/json", "Content-Length": "100"}
    with logged(parts, caplog) as (client, counted):
        connection = connect(client, request("POST", "/v1/search", kind) + b'{"query"')
        connection.close()
        counted("search")


def test_in_the_middle_of_a_download(
    parts: Services, big_asset: str, caplog: pytest.LogCaptureFixture
) -> None:
    with logged(parts, caplog) as (client, counted):
        path = f"/v1/assets/{big_asset}/content"
        connection = connect(client, request("GET", path))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        hang_up(connection)
        counted("get_content")


def test_in_the_middle_of_the_first_of_three_downloads(
    parts: Services, big_asset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent without waiting for answers: the others are not begun."""
    with logged(parts, caplog) as (client, counted):
        connection = connect(client, 3 * request("GET", f"/v1/assets/{big_asset}/content"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        hang_up(connection)
        counted("get_content")


def test_in_the_middle_of_events(
    parts: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.api.routers.jobs._ALIVE_S", 0.5)
    endless = replace(parts, jobs=Endless())  # type: ignore[arg-type]
    with logged(endless, caplog) as (client, counted):
        connection = connect(client, request("GET", "/v1/jobs/any/events"))
        assert b"event: progress" in connection.recv(65536) + connection.recv(65536)
        connection.close()
        counted("follow_job")


def test_an_answer_that_failed_in_its_middle_is_no_hang_up(
    parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("in the middle")

    metrics = Metrics()
    monkeypatch.setattr("search.api.routers.jobs._event", fail)
    with served(replace(parts, jobs=Endless(), metrics=metrics)) as client:  # type: ignore[arg-type]
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/v1/jobs/any/events")
        wait_for(lambda: 'endpoint="follow_job",status="500"} 1.0' in metrics.text().decode())
