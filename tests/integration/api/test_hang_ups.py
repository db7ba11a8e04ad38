"""Clients that hang up: 499 in the log and in the metrics, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from search.api.middleware.metrics import Metrics
from search.api.services import Services
from tests.integration.api.conftest import served
from tests.integration.api.wire import Endless, connect, hang_up, request
from tests.support.waiting import wait_for

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
