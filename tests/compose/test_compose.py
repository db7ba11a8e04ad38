"""``docker compose up``, for real: the stack comes up, finds, survives and keeps."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from examples.queries import QUERIES, DemoQuery
from tests.compose import images
from tests.compose.engine import Engine, run
from tests.compose.stack import Stack, ended, job, names_found, until, upload

pytestmark = [pytest.mark.compose, pytest.mark.timeout(5400)]

_NOTES = 400
_LIMIT_BYTES = 2.5e9


def test_the_image_is_small_and_runs_as_nobody(
    engine: Engine, record_property: Callable[[str, object], None]
) -> None:
    (image,) = json.loads(engine.podman("image", "inspect", images.OURS))
    record_property("image_gb", round(image["Size"] / 1e9, 2))
    assert image["Size"] < _LIMIT_BYTES
    assert image["Config"]["User"] == "10001:10001"
    assert "workers.serving.health" in str(image["Healthcheck"])


def test_all_services_are_healthy(stack: Stack) -> None:
    seen = {name: stack.engine.inspect(name)["State"] for name in stack.containers()}
    assert len(seen) == 6, "two workers for texts, one for media, the API, Redis and Milvus"
    for name, state in seen.items():
        assert isinstance(state, dict)
        assert state["Health"]["Status"] == "healthy", (name, state["Health"])


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.expect)
def test_it_finds_what_the_demo_finds(
    query: DemoQuery, client: httpx.Client, corpus: list[Path]
) -> None:
    folder = corpus[0].parent
    terms: list[dict[str, object]] = [{"text": query.text}] if query.text else []
    for kind in ("image", "audio"):
        if name := getattr(query, kind):
            terms.append({kind: base64.b64encode((folder / name).read_bytes()).decode()})
    asked = {"query": terms, "modalities": [str(m) for m in query.modalities], "limit": 3}
    answer = client.post("/v1/search", json=asked)
    assert answer.status_code == 200, answer.text
    assert query.expect in [hit["name"] for hit in answer.json()["hits"]]


def test_only_the_api_can_be_reached_from_outside(stack: Stack) -> None:
    """On the loopback device, and with a key."""
    published = []
    for name in stack.containers():
        settings = stack.engine.inspect(name)["NetworkSettings"]
        assert isinstance(settings, dict)
        published += [(name, ports) for ports in settings["Ports"].values() if ports]
    (api,) = stack.containers("api")
    assert published == [(api, [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}])]
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.port}") as stranger:
        assert stranger.post("/v1/search", json={"query": "rain"}).status_code == 401


def test_a_worker_may_write_nowhere_and_reach_nobody_outside(stack: Stack) -> None:
    (worker, *_) = stack.containers("worker-text")
    tried = (
        "import os, socket, pathlib\n"
        "assert os.getuid() == 10001\n"
        "def fails(what):\n"
        "    try: what()\n"
        "    except OSError: return\n"
        "    raise SystemExit(f'{what} was possible')\n"
        "fails(lambda: pathlib.Path('/opt/anymodal/x').write_text(''))\n"
        "fails(lambda: pathlib.Path('/var/lib/anymodal/uploads/x').write_text(''))\n"
        "fails(lambda: pathlib.Path('/media/x').write_text(''))\n"
        "fails(lambda: socket.create_connection(('192.0.2.1', 80), 3))\n"
        "pathlib.Path('/tmp/x').write_text('')\n"
        "assert 'CapEff:\\t0000000000000000' in pathlib.Path('/proc/self/status').read_text()\n"
        "assert 'NoNewPrivs:\\t1' in pathlib.Path('/proc/self/status').read_text()\n"
    )
    stack.engine.podman("exec", worker, "python", "-c", tried)


def test_a_job_survives_the_death_of_its_worker(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    notes = [tmp_path / f"note-{number:04}.txt" for number in range(_NOTES)]
    for number, note in enumerate(notes):
        note.write_text(f"Note {number}: the lighthouse keeper counted {number * 7 + 3} ships.")
    job_id = upload(client, notes)
    done = until(lambda: job(client, job_id), lambda seen: seen["ingested"] > 0)
    assert 0 < done["ingested"] < _NOTES, "the worker dies in the middle of the job"
    victim, other = stack.containers("worker-text")
    stack.kill(victim)
    done = ended(client, job_id)
    assert (done["state"], done["ingested"], done["failed"]) == ("done", _NOTES, 0)
    assert done["segments"] == {"text": _NOTES}, "none is missing, none is there twice"
    assert_found(client, "the lighthouse keeper counted 864 ships", "note-0123.txt")
    until(lambda: stack.containers("worker-text"), lambda running: victim in running)
    counts = {name: stack.engine.inspect(name)["RestartCount"] for name in (victim, other)}
    assert counts == {victim: 1, other: 0}, "the engine starts the one that died, and no other"


def assert_found(client: httpx.Client, text: str, name: str) -> None:
    """Check that a text finds this file."""
    assert name in until(lambda: names_found(client, text), lambda names: name in names)


def test_a_folder_is_ingested_by_the_command_of_the_handbook(
    stack: Stack, client: httpx.Client
) -> None:
    (stack.folder / "media" / "recipe.txt").write_text("Knead the dough and let it rise overnight.")
    stack.compose("exec", "-T", "api", "anymodal", "ingest", "/media")
    assert_found(client, "Knead the dough and let it rise overnight.", "recipe.txt")


Everything = tuple[list[str], list[str], list[str]]


def everything(client: httpx.Client) -> Everything:
    """Ids of all assets that jobs have stored, ids of jobs, and what a search finds first."""
    jobs = client.get("/v1/jobs").json()["jobs"]
    stored = sum(job["ingested"] for job in jobs)
    assets = until(lambda: asset_ids(client), lambda found: len(found) == stored)
    best = names_found(client, "a small furry pet with whiskers", limit=1)
    return assets, sorted(job["id"] for job in jobs), best


def asset_ids(client: httpx.Client) -> list[str]:
    """The ids of all assets that the API sees."""
    listed = client.get("/v1/assets", params={"limit": 1000}).json()["assets"]
    return sorted(asset["asset_id"] for asset in listed)


def assert_same(client: httpx.Client, before: Everything) -> None:
    """Check that everything is as it was before."""
    assert until(lambda: everything(client), lambda seen: seen == before) == before


def test_down_and_up_keeps_everything(stack: Stack, client: httpx.Client) -> None:
    before = everything(client)
    assert before[0]
    assert before[1]
    stack.down()
    assert stack.containers() == []
    stack.up()
    assert_same(client, before)


def test_a_backup_brings_back_what_was_lost(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    before = everything(client)
    environment = stack.engine.environment | {
        "DOCKER": "podman",
        "COMPOSE": "docker-compose",
    }
    backup = stack.folder / "backup.sh"
    run([backup, "save", tmp_path / "monday"], environment, 900)
    stack.down("--volumes")
    run([backup, "restore", tmp_path / "monday"], environment, 900)
    stack.up()
    assert_same(client, before)


def test_several_apis_behind_a_proxy(stack: Stack, client: httpx.Client, tmp_path: Path) -> None:
    before = everything(client)
    image = tmp_path / "image.yaml"
    image.write_text(f"services: {{proxy: {{image: '{images.NGINX}'}}}}")
    files = ("compose.yaml", "compose.override.yaml", "compose.proxy.yaml", image)
    stack.up(*(f"--file={stack.folder / file}" for file in files))
    assert len(stack.containers("api")) == 2
    for _ in range(4):
        assert_same(client, before)
    assert client.get("/metrics").status_code == 404
    ask = (
        "from urllib.request import urlopen as u; print(u('http://127.0.0.1:8080/metrics').read())"
    )
    for name in stack.containers("api"):
        figures = stack.engine.podman("exec", name, "python", "-c", ask)
        assert "anymodal_query_stage_seconds_count{" in figures, f"{name} answered no search"
    stack.up()


def test_another_model_takes_over(stack: Stack, client: httpx.Client) -> None:
    """Its store is filled next to the old one, in its own database; same network, not quantized."""
    before = everything(client)
    store = "http://milvus:19530"
    make = (
        "from pymilvus import MilvusClient as M; from workers.config import Settings; "
        "M(Settings().store).create_database('next')"
    )
    stack.compose("exec", "-T", "api", "python", "-c", make)
    settings = {
        "ANYMODAL_ENCODER__QUANTIZATION": "none",
        "ANYMODAL_STORE": f"{store}/next",
        "ANYMODAL_BROKER": "memory://",
    }
    given = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    folders = ["/media", "/var/lib/anymodal/uploads"]
    stack.compose("run", "--rm", "-T", *given, "api", "ingest", *folders, timeout_s=900)
    assert everything(client) == before, "the old one goes on serving"
    stack.set(ANYMODAL_STORE=f"{store}/next", QUANTIZATION="none")
    stack.up()
    assert_same(client, before)


def test_a_stop_is_graceful(stack: Stack) -> None:
    """Each ends by itself, long before it would be killed; except the Milvus of 2024."""
    names = [name for name in stack.containers() if "milvus" not in name]
    stack.compose("stop")
    codes = {}
    for name in names:
        state = stack.engine.inspect(name)["State"]
        assert isinstance(state, dict)
        codes[name] = state["ExitCode"]
    assert codes == dict.fromkeys(names, 0)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", stack.port)) != 0
