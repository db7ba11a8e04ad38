"""Commands beside a running server of the same store: it lends its model, and sees what they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ANYMODAL, Run
from tests.integration.test_serve import serving
from tests.support.waiting import wait_for
from workers.beside import client
from workers.beside.place import socket_path

REQUEST = {"limit": 10, "understand": True}


def plain(result: Any) -> Any:
    """A result without the measurements of a run."""
    return {key: value for key, value in result.items() if key not in ("latency_s", "wall_s")}


def questions(media: Path) -> list[tuple[object, ...]]:
    new = media.parent / "new.txt"  # not stored
    new.write_text("Bake a loaf of bread.")
    return [
        ("search", "--like", f"{new}^2"),
        ("search", "how to bake", "--limit", 3, "--explain"),
        ("search", "--text", "orbit^2", "--not", "bread", "--modality", "text"),
        ("search", "--like", media / "checks.png"),
        ("search", "--image", media / "gradient.jpg", "--audio", f"{media / 'tone.wav'}^0.5"),
        ("search", "--query-file", media / "texts" / "space.md", "--segments", "--literal"),
        ("search", "--path", media / "texts", "bake", "--quota", "text=1", "--threshold", 0.1),
        ("search", "bread", "--tag", "none", "--filter", "language=en"),
        ("search", "photos of bread", "--kind", "image", "--sort", "-modified", "--no-stacks"),
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
    path = socket_path(store_uri)
    assert path is not None
    with serving(tmp_path) as (process, _):
        wait_for(lambda: answers() == alone, 60, "reading words and names")
        with monkeypatch.context() as patch:
            patch.setattr("workers.cli.search.found", None)  # the server does it
            assert [plain(here(*words)) for words in questions(media)[1:]] == alone[1:]
        assert errors() == wrong
        assert hits_without(("numpy", "onnxruntime", "workers.config"), store_uri) == n_hits
        process.kill()
        process.wait(60)
    assert path.exists()
    by_itself = ("celery", "pymilvus", "milvus_lite", "pandas", "PIL", "av", "rich", "httpx2")
    path.rename(path.with_name("other"))
    assert hits_without(by_itself, store_uri) == n_hits
    path.with_name("other").rename(path)  # left by the killed server
    assert len(here("search", "bread")["hits"]) == n_hits
    with serving(tmp_path):
        assert hits_without(("numpy",), store_uri) == n_hits


@pytest.fixture
def filled(here: Run, media: Path, store_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    here("ingest", media)
    monkeypatch.setenv("ANYMODAL_STORE", store_uri)
    return store_uri


def hits(query: Mapping[str, Any], **request: Any) -> list[Any] | None:
    """Of a server of the settings; None if there is none."""
    found = client.search([query], {**REQUEST, **request})
    return None if found is None else found["hits"]


@pytest.mark.usefixtures("filled")
def test_only_a_server_of_the_store_and_the_model_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bread = {"text": "bread", "weight": 1.0}
    assert hits(bread) is None
    with serving(tmp_path) as (_, http):
        model = http.get("/v1/info").json()["model"]
        assert hits(bread)
        for name, is_asked in ((model, True), ("bundle:default", True), ("dir:/other", False)):
            with monkeypatch.context() as patch:
                patch.setenv("ANYMODAL_ENCODER__MODEL", name)
                assert (hits(bread) is not None) == is_asked
        for other in (str(tmp_path / "other"), "memory:", str(tmp_path / "x.db")):
            with monkeypatch.context() as patch:
                patch.setenv("ANYMODAL_STORE", other)
                assert hits(bread) is None
        assert hits(bread, limit=5000) is None  # which the command says in its own words
        assert hits({"image": tmp_path / "gone.png", "weight": 1.0}) is None


def test_the_socket_is_its_users_who_needs_no_key_and_sees_paths(
    filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = socket_path(filled)
    assert path is not None
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    subprocess.run([ANYMODAL, "keys", "create", "page"], check=True, capture_output=True)
    hosts = {"ANYMODAL_API__ALLOWED_HOSTS": '["library.example"]'}
    with serving(tmp_path, "--host", "0.0.0.0", **hosts) as (process, http):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        own = {"Host": "library.example"}
        assert http.post("/v1/search", json={"query": "bread"}, headers=own).status_code == 401
        assert http.get("/v1/info", headers={"Host": "localhost"}).status_code == 403
        prefix = {"field": "path", "prefix": str(tmp_path / "media")}
        found = hits({"text": "bread", "weight": 1.0}, filter=prefix)
        assert found is not None
        assert found[0]["uri"].startswith(str(tmp_path / "media"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "getuid", lambda: 12345)  # the server is another user's
            assert hits({"text": "bread", "weight": 1.0}) is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not path.exists()


def test_a_server_that_is_killed_in_the_middle_costs_nothing_but_time(
    filled: str, tmp_path: Path
) -> None:
    with serving(tmp_path) as (process, _):
        process.send_signal(signal.SIGSTOP)
        command = subprocess.Popen(
            [ANYMODAL, "search", "how to bake"], stdout=subprocess.PIPE, text=True
        )
        wait_for(lambda: n_connected(filled) > 1, 60, "the command to look and to ask")
        assert command.poll() is None
        process.kill()
        output, _ = command.communicate(timeout=120)
    assert command.returncode == 0
    assert Path(json.loads(output)["hits"][0]["uri"]).name == "bread.txt"


def n_connected(store: str) -> int:
    """How many wait at a server's socket or are connected to it; it listens at one itself."""
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(str(socket_path(store))) for line in sockets) - 1


def test_of_two_servers_on_a_folder_the_later_one_is_asked(filled: str, tmp_path: Path) -> None:
    bread = {"text": "bread", "weight": 1.0}
    with serving(tmp_path) as (first, _):
        with serving(tmp_path) as (second, _):
            first.send_signal(signal.SIGTERM)
            assert first.wait(120) == 0
            assert hits(bread)
            second.send_signal(signal.SIGTERM)
            assert second.wait(120) == 0
        assert hits(bread) is None
    assert socket_path(filled)


def test_a_file_of_milvus_lite_is_its_servers_who_searches_for_commands(
    here: Run, media: Path, tmp_path: Path
) -> None:
    where = {"ANYMODAL_STORE": str(tmp_path / "x.db"), "ANYMODAL_DATA": str(tmp_path / "data")}
    here("ingest", media, **where)
    with serving(tmp_path, **where):
        assert here("search", "how to bake", **where)["hits"][0]["title"] == "bread"
        assert here("search", "how to bake", "--tag", "none", **where)["hits"] == []
        assert "limit" in here("search", "x", "--limit", "5000", fails=1, **where)
        for words in (("list",), ("ingest", media), ("delete", media), ("store", "stats")):
            assert str(tmp_path / "x.db") in here(*words, fails=1, **where)


def test_a_server_sees_what_commands_change(here: Run, media: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as (_, http):
        told = here("ingest", media, "--tag", "sea", "--metadata", "year=1999")
        assert (told["ingested"], told["failed"], told["interrupted"]) == (6, 1, False)
        assert here("ingest", media)["unchanged"] == 6

        def served() -> Any:
            return http.get("/v1/info").json()["space"]["calibration"]

        shipped = served()
        assert shipped["source"] == "shipped"
        measured = here("store", "calibrate", "--dry-run")["measured"]
        assert measured.keys() == {"text", "image", "audio"}
        assert served() == shipped
        told = here("store", "calibrate")
        wait_for(lambda: served() == told["calibration"], 30, "the server to read the constants")
        assert served()["source"] == "measured"
        assert served()["modalities"]["text"]["mu"] == told["measured"]["text"]["mu"]
        found = http.post("/v1/search", json={"query": "how to bake", "explain": True}).json()
        assert found["explain"]["modalities"]["text"]["mu"] == told["measured"]["text"]["mu"]
        here("store", "calibrate", "--shipped")
        wait_for(lambda: served() == shipped, 30, "the server to read the constants")
        hit = http.post("/v1/search", json={"query": "how to bake"}).json()["hits"][0]
        assert (hit["name"], hit["tags"]) == ("bread.txt", ["sea"])

        (media / "checks.png").unlink()
        here("ingest", media, "--prune=all")
        assert http.get("/v1/info").json()["assets"] == 5
        assert here("delete", media / "texts")["removed"] == {str(media / "texts"): 2}
        assert http.get("/v1/info").json()["assets"] == 3


def test_an_ingest_beside_a_server_can_be_interrupted(tmp_path: Path, bundle_home: Path) -> None:
    assert bundle_home.is_dir()
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(3000):
        (folder / f"{n}.txt").write_text(f"Note {n} about the tide.")
    env = {**os.environ, "ANYMODAL_DATA": str(tmp_path / "data")}
    with serving(tmp_path) as (_, http):
        words = [str(ANYMODAL), "ingest", str(folder)]
        process = subprocess.Popen(
            words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (n := http.get("/v1/info").json()["assets"]):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=120)
        assert process.returncode == 130, error
        assert "run the same command again" in error
        told = json.loads(output)
        assert told["interrupted"]
        assert n <= told["ingested"] < 3000
        assert http.get("/v1/info").json()["assets"] == told["ingested"]


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
