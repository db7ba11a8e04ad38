"""Commands alongside a running server on the same embedded store: the server does their work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.cluster import LiteServer
from tests.integration.conftest import ANYMODAL, Run
from tests.integration.test_serve import serving
from tests.support.waiting import wait_for
from workers.beside.place import socket_path


def plain(result: Any) -> Any:
    """A result without the measurements of a run."""
    return {key: value for key, value in result.items() if key not in ("latency_s", "wall_s")}


def questions(media: Path) -> list[tuple[object, ...]]:
    return [
        ("search", "how to bake", "--limit", 3, "--explain"),
        ("search", "--text", "orbit^2", "--not", "bread", "--modality", "text"),
        ("search", "--like", media / "checks.png"),
        ("search", "--path", media / "texts", "bake"),
        ("search", "bread", "--tag", "none"),
    ]


REFUSED = [
    (2, ("search", "x", "--image", "no.png")),
    (1, ("search", "x", "--image", "broken.png")),
    (2, ("search", "x", "--filter", "smell=bad")),
    (2, ("search", "x", "--limit", "5000")),
    (1, ("search", "--like", "0" * 32)),
]


def test_searches_are_the_same_with_and_without_a_server(
    here: Run, media: Path, tmp_path: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after its server was killed; and they import little."""
    monkeypatch.chdir(media)

    def answers() -> list[Any]:
        return [plain(here(*words)) for words in questions(media)]

    def errors() -> list[str]:
        return [here(*words, fails=code) for code, words in REFUSED]

    here("ingest", media)
    answers()  # which reads words and names
    alone, wrong = answers(), errors()
    n_hits = len(here("search", "bread")["hits"])
    anywhere = ("celery", "pymilvus", "rich", "prometheus_client", "encoder.prepare")
    path = socket_path(store_uri)
    assert path is not None
    with serving(tmp_path) as (process, _):
        wait_for(lambda: answers() == alone, 60, "reading words and names")
        assert errors() == wrong
        assert hits_without((*anywhere, "numpy", "pydantic", "onnxruntime"), store_uri) == n_hits
        process.kill()
        process.wait(60)
    assert path.exists()
    by_itself = (*anywhere, "milvus_lite", "pandas", "PIL", "av")
    assert hits_without(by_itself, store_uri) == n_hits
    with serving(tmp_path):
        assert len(here("search", "bread")["hits"]) == n_hits


def test_changes_go_through_the_server(
    here: Run, media: Path, tmp_path: Path, store_uri: str
) -> None:
    with serving(tmp_path) as (process, client):
        told = here("ingest", media, "--tag", "sea", "--metadata", "year=1999")
        assert (told["ingested"], told["failed"], told["interrupted"]) == (6, 1, False)
        assert here("ingest", media)["unchanged"] == 6

        def served() -> Any:
            return client.get("/v1/info").json()["space"]["calibration"]

        shipped = served()
        assert shipped["source"] == "shipped"
        measured = here("store", "calibrate", "--dry-run")["measured"]
        assert measured.keys() == {"text", "image", "audio"}
        assert served() == shipped
        told = here("store", "calibrate")
        assert served() == told["calibration"]
        assert served()["source"] == "measured"
        assert served()["modalities"]["text"]["mu"] == told["measured"]["text"]["mu"]
        found = client.post("/v1/search", json={"query": "how to bake", "explain": True}).json()
        assert found["explain"]["modalities"]["text"]["mu"] == told["measured"]["text"]["mu"]
        here("store", "calibrate", "--shipped")
        assert served() == shipped
        hit = client.post("/v1/search", json={"query": "how to bake"}).json()["hits"][0]
        assert (hit["name"], hit["tags"]) == ("bread.txt", ["sea"])

        (media / "checks.png").unlink()
        here("ingest", media, "--prune=all")
        assert client.get("/v1/info").json()["assets"] == 5
        assert here("delete", media / "texts")["removed"] == {str(media / "texts"): 2}
        assert client.get("/v1/info").json()["assets"] == 3
        refused = here("search", "x", fails=2, ANYMODAL_ENCODER__MODEL="dir:/elsewhere")
        assert "has the store open" in refused
        path = socket_path(store_uri)
        assert path is not None
        assert path.stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not path.exists()
    assert here("search", "tone")["hits"]  # the folder is free again


def test_a_store_on_a_server_is_ingested_into_without_the_api(
    anymodal: Run, media: Path, tmp_path: Path
) -> None:
    """Its searches would wait for the ingest, and the command's own priority would mean nothing."""
    milvus = LiteServer(tmp_path / "milvus")
    milvus.wait_until_ready()
    where = {"ANYMODAL_STORE": milvus.uri, "ANYMODAL_DATA": str(tmp_path / "data")}
    try:
        with serving(tmp_path, **where) as (process, client):
            process.send_signal(signal.SIGSTOP)
            told = anymodal("ingest", media, **where)
            process.send_signal(signal.SIGCONT)
            assert (told["ingested"], told["failed"]) == (6, 1)
            hit = client.post("/v1/search", json={"query": "how to bake"}).json()["hits"][0]
            assert hit["name"] == "bread.txt"
            assert client.get("/v1/info").json()["assets"] == 6
    finally:
        milvus.kill()


def test_interrupting_the_command_ends_the_work_in_the_server(
    tmp_path: Path, bundle_home: Path
) -> None:
    assert bundle_home.is_dir()
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(3000):
        (folder / f"{n}.txt").write_text(f"Note {n} about the tide.")
    env = {**os.environ, "ANYMODAL_DATA": str(tmp_path / "data")}
    with serving(tmp_path) as (_, client):
        words = [str(ANYMODAL), "ingest", str(folder)]
        process = subprocess.Popen(
            words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (n := client.get("/v1/info").json()["assets"]):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=120)
        assert process.returncode == 130, error
        assert "run the same command again" in error
        told = json.loads(output)
        assert told["interrupted"]
        assert n <= told["ingested"] < 3000
        assert client.get("/v1/info").json()["assets"] == told["ingested"]


SEARCH = """
import gc, sys
from workers import cli
began = gc.get_stats()[2]["collections"]
heavy, sys.argv = set(sys.argv[1:]), ["anymodal", "search", "bread"]
try: cli.main()
except SystemExit as end: assert not end.code
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert gc.isenabled() and gc.get_stats()[2]["collections"] == began
"""


def hits_without(heavy: tuple[str, ...], store: str) -> int:
    """The hits of a search that imports none of these."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, *heavy],
        env={**os.environ, "ANYMODAL_STORE": store},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return len(json.loads(done.stdout)["hits"])
