"""``anymodal serve`` as a process: it starts, serves, and stops cleanly."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest

from search.api.access.keys import KeyRing
from tests.faults.cluster import LiteServer, Part
from tests.support.valkey import valkey_server

ANYMODAL = Path(sys.executable).with_name("anymodal")


@contextmanager
def serving(
    tmp_path: Path, *options: str, command: Sequence[object] = (ANYMODAL, "serve"), **extra: str
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server at a free port, with its data in a folder of the test."""
    environment = {**os.environ, "ANYMODAL_DATA": str(tmp_path / "data"), **extra}
    process = subprocess.Popen(
        [*map(str, command), "--port", "0", *options],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        address = ""
        for line in process.stderr:
            if found := re.search(r"Listening at (http:[^\s\"]+)", line):
                address = found[1]
                break
        assert address, "the server did not start"
        with httpx.Client(base_url=address, timeout=120) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.usefixtures("bundle_home")
def test_sigterm_ends_streams_and_finishes_what_is_under_way(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, client):
        files = [("file", (f"{n}.txt", f"Note {n}.".encode() * 100)) for n in range(60)]
        job = client.post("/v1/assets", files=files).json()["job"]
        lines: list[str] = []

        def follow() -> None:
            with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
                lines.extend(stream.iter_lines())

        follower = Thread(target=follow)
        follower.start()
        while not lines and follower.is_alive():
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        follower.join(120)
        assert not follower.is_alive()
        assert process.wait(120) == 0
    with serving(tmp_path) as (process, client):  # what was not begun is taken up again
        while len(client.get("/v1/assets", params={"limit": 1000}).json()["assets"]) < 60:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0


WITHOUT = """
import sys
for name in ("celery", "faster_whisper"):
    sys.modules[name] = None  # importing it fails
from workers import cli
cli.main()
"""


@pytest.mark.usefixtures("bundle_home")
def test_a_server_that_is_sent_texts_needs_neither_speech_nor_celery(tmp_path: Path) -> None:
    command = (sys.executable, "-c", WITHOUT, "serve")
    with serving(tmp_path, command=command, ANYMODAL_STORE=str(tmp_path / "store")) as (_, client):
        answer = client.post("/v1/search", json={"query": "bread"})
        assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("bundle_home")
def test_other_machines_need_a_key(tmp_path: Path) -> None:
    data = {"ANYMODAL_DATA": str(tmp_path / "data")}
    words = [str(ANYMODAL), "serve", "--host", "0.0.0.0", "--port", "0"]
    refused = subprocess.run(
        words, env={**os.environ, **data}, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "anymodal keys create" in refused.stderr
    _, key = KeyRing(tmp_path / "data" / "keys.json").create("page", ["read"], 1000)
    with serving(tmp_path, "--host", "0.0.0.0") as (_, client):
        port = client.base_url.port
        local = f"http://127.0.0.1:{port}/v1/info"
        assert httpx.get(local).status_code == 401
        assert httpx.get(local, headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.usefixtures("bundle_home")
def test_a_server_whose_store_is_removed_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, "--store", str(tmp_path / "store")) as (process, client):
        files = {"file": ("tide.txt", b"The tide comes in twice a day.")}
        added = client.post("/v1/assets", files=files, data={"wait": "true"}).json()
        path = f"/v1/assets/{added['job']['asset_ids'][0]}"
        assert client.get("/readyz").json()["checks"]["store"] == {"ok": True}
        shutil.rmtree(tmp_path / "store")
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.json()["checks"]["store"]["error"] == "StoreGoneError"
        assert "restart the server" in ready.json()["checks"]["store"]["remedy"]
        for refused in (client.patch(path, json={"add_tags": ["sea"]}), client.delete(path)):
            assert refused.status_code == 503, refused.text
            assert refused.json()["error"]["type"] == "StoreGoneError"
        other = {"file": ("moon.txt", b"The moon draws the tide.")}
        job = client.post("/v1/assets", files=other, data={"wait": "true"}).json()["job"]
        assert [one["error"] for one in job["failures"]] == ["StoreGoneError"], job
        figures = client.get("/metrics").text
        for outcome in ("ingested", "failed"):
            assert f'anymodal_files_total{{outcome="{outcome}"}} 1.0' in figures
        assert client.get("/healthz").is_success
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert "Traceback" not in log


@pytest.mark.end_to_end
@pytest.mark.usefixtures("bundle_home")
def test_workers_do_what_a_server_with_a_broker_is_sent(tmp_path: Path) -> None:
    data = {"ANYMODAL_DATA": str(tmp_path / "data")}
    store = LiteServer(tmp_path / "milvus")
    store.wait_until_ready()
    with valkey_server() as valkey:
        broker = f"redis://{valkey.host}:{valkey.port}/0"
        options = ["--broker", broker, "--store", store.uri]
        worker = Part([ANYMODAL, "worker", *options], tmp_path / "worker.log", **data)
        try:
            with serving(tmp_path, *options) as (_, client):
                assert client.get("/readyz").json()["status"] == "ready"
                files = {"file": ("tide.txt", b"The tide comes in twice a day.")}
                job = client.post("/v1/assets", files=files, data={"tags": "sea"}).json()["job"]
                with client.stream("GET", f"/v1/jobs/{job['id']}/events") as stream:
                    lines = [line for line in stream.iter_lines() if line]
                assert lines[-2] == "event: end"
                ended = json.loads(lines[-1].removeprefix("data: "))
                assert (ended["state"], ended["ingested"]) == ("done", 1)
                hit = client.post("/v1/search", json={"query": "ebb and flow"}).json()["hits"][0]
                assert (hit["asset_id"], hit["tags"]) == (ended["asset_ids"][0], ["sea"])
                assert client.get("/v1/jobs").json()["jobs"][0]["id"] == job["id"]
                assert client.get("/v1/jobs/none").status_code == 404
                assert not client.delete(f"/v1/jobs/{job['id']}").json()["cancelled"]
                valkey.stop()
                unready = client.get("/readyz")
                assert unready.status_code == 503
                assert unready.json()["checks"]["jobs"]["error"] == "BrokerError"
                assert unready.json()["checks"]["store"]["ok"]
                assert client.post("/v1/search", json={"query": "ebb"}).status_code == 200
                refused = client.post("/v1/assets", files=files)
                assert refused.status_code == 503
                assert broker not in refused.text
                valkey.start()  # for the end of the block to stop
        finally:
            worker.kill()
            store.kill()


@pytest.mark.usefixtures("bundle_home")
def test_every_line_of_the_log_is_json_with_the_id_of_its_request(tmp_path: Path) -> None:
    options = ["--log-format", "json", "--loglevel", "INFO"]
    with serving(tmp_path, *options, ANYMODAL_API__SLOW_QUERY_MS="0.001") as (process, client):
        client.post("/v1/search", json={"query": "tide"}, headers={"X-Request-ID": "mine-1"})
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        records = [json.loads(line) for line in process.stderr]
        assert process.wait(120) == 0
    mine = {r["logger"]: r["message"] for r in records if r.get("request_id") == "mine-1"}
    assert re.fullmatch(r"POST search 200 in [\d.]+ ms", mine["search.api.edge"])
    assert "latency_ms" in mine["anymodal.slow"]
