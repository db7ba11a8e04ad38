"""The stack's services as they are told to run, on this machine: a job survives and is found.

``make test-stack`` runs it with 300 files.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from encoder.system.cache import cache_home
from tests.compose.containerfiles.unpack_milvus import write_settings
from tests.compose.parts import PROGRAMS, Image, Part, Parts, started
from tests.compose.stack import names_found, until
from tests.faults.files import expected, make_media
from tests.support.compose_files import COMPOSE, ROOT
from tests.support.milvus_server import unpacked, wheel

pytestmark = [pytest.mark.milvus, pytest.mark.root, pytest.mark.timeout(600)]

N_FILES = int(os.environ.get("STACK_FILES", "80"))
OURS = ROOT / ".venv-image"
FILES = Path(__file__).parent / "containerfiles"
TOPICS = {
    "dough.txt": "Knead the dough and let it rise overnight in a cool kitchen.",
    "planets.txt": "Jupiter has storms that are wider than the whole of our planet.",
    "taxes.txt": "The tax office wants the form by the end of May, signed by both of you.",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """What stands for the images: our wheel beside its locked packages, and Debian's programs."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    assert not missing, f"{missing} are missing: make stack-programs .venv-image/installed"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--reinstall"]
    subprocess.run([*install, f"--python={OURS}/bin/python", str(ROOT)], check=True)
    milvus = tmp_path_factory.mktemp("milvus")
    write_settings(wheel(), milvus)
    ours = {
        "/opt/anymodal": OURS,
        sys.base_prefix: Path(sys.base_prefix),
        "/opt/models/bundle": cache_home() / "bundle",
        "/opt/models/sparse": _readable(cache_home() / "sparse", tmp_path_factory.mktemp("models")),
    }
    return {
        "api": Image.read(COMPOSE / "Dockerfile", ours),
        "redis": Image.read(FILES / "redis.Containerfile", {}),
        "milvus": Image.read(
            FILES / "milvus.Containerfile", {"/milvus": milvus, "/milvus/bin": unpacked()}
        ),
        "proxy": Image.read(FILES / "nginx.Containerfile", {}),
    }


def _readable(folder: Path, copy: Path) -> Path:
    """A copy for all users, as an image has it."""
    for path in folder.glob("*.onnx"):
        shutil.copyfile(path, copy / path.name)
        (copy / path.name).chmod(0o644)
    copy.chmod(0o755)
    return copy


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, and notes, pictures and sounds."""
    folder = tmp_path_factory.mktemp("media") / "files"
    with zipfile.ZipFile(ROOT / "workers" / "cli" / "samples.zip") as samples:
        make_media(folder, N_FILES - len(samples.namelist()) - len(TOPICS), seed=7)
        samples.extractall(folder)
    for name, text in TOPICS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def parts(
    images: dict[str, Image], media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parts]:
    with started(
        Parts(
            tmp_path_factory.mktemp("stack") / "stack",
            images,
            MEDIA_FOLDER=str(media),
            TEXT_WORKERS="2",
            TEXT_PROCESSES="1",
            TEXT_CPUS="1",
        )
    ) as parts:
        yield parts


@pytest.fixture(scope="module")
def client(parts: Parts) -> Iterator[httpx.Client]:
    """For the proxy, with a key that was made before the first start, as the handbook says."""
    make = parts.start("api", command=["keys", "create", "me", "--scope", "admin"])
    assert make.process.wait(60) == 0, make.log()
    parts.running["api"].remove(make)
    parts.up()
    (proxy,) = parts.running["proxy"]
    with httpx.Client(
        base_url=f"http://{proxy.address}:8080",
        headers={"Authorization": f"Bearer {json.loads(make.log())['key']}"},
        timeout=60,
    ) as client:
        yield client


def test_a_job_survives_its_worker_and_is_found_through_the_proxy(
    parts: Parts, client: httpx.Client, media: Path
) -> None:
    api, other_api = parts.running["api"]
    command = api.start_in("anymodal", "ingest", "/media", "--json")

    def n_ingested() -> int:
        jobs = client.get("/v1/jobs").raise_for_status().json()["jobs"]
        return sum(job["ingested"] for job in jobs)

    n_done = until(n_ingested, lambda n: n > 5)
    assert 0 < n_done < N_FILES / 2, "the worker dies in the middle of the job"
    victim, _ = parts.running["worker-text"]
    victim.signal(signal.SIGKILL)
    victim.process.wait(30)
    out, err = command.communicate(timeout=300)
    assert command.returncode in (0, 1), err
    report = json.loads(out)
    broken, contents = expected(media)
    assert {Path(failure["uri"]).name for failure in report["failures"]} == broken, report
    assert report["failed"] == len(broken)
    # A copy is unchanged if the first of its kind was stored by then.
    assert report["ingested"] + report["unchanged"] == sum(map(len, contents.values()))
    for name, text in TOPICS.items():
        until(lambda text=text: names_found(client, text), lambda names, name=name: name in names)
        assert name in names_found(client, text)
    assert other_api.problem() == ""
    assert client.get("/metrics").status_code == 404
    with httpx.Client(base_url=client.base_url) as stranger:
        assert stranger.post("/v1/search", json={"query": "rain"}).status_code == 401


def test_every_part_of_ours_is_well_by_its_own_command(parts: Parts, client: httpx.Client) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
    (worker,) = parts.running["worker-media"]
    said = worker.run_in("anymodal", "doctor", timeout_s=180)
    assert "redis" in said


def test_a_service_may_write_nowhere_else(parts: Parts, client: httpx.Client) -> None:
    assert client.base_url
    (worker,) = parts.running["worker-media"]
    assert worker.run_in("python", "-c", "import os; print(os.getuid())").strip() == "10001"
    for path in ("/opt/anymodal/x", "/media/x", "/var/lib/anymodal/uploads/x", "/etc/x"):
        with pytest.raises(RuntimeError, match="Read-only"):
            worker.run_in("touch", path)
    worker.run_in("touch", "/tmp/x", "/var/cache/anymodal/x")


def test_a_stop_is_graceful(parts: Parts, client: httpx.Client) -> None:
    assert client.base_url
    ours: list[Part] = [
        *parts.running["api"],
        *parts.running["worker-media"],
        *parts.running["proxy"],
    ]
    for part in ours:
        part.signal(signal.SIGTERM)
    assert [part.process.wait(90) for part in ours] == [0] * len(ours)


def test_a_redis_that_hangs_is_ended_by_its_health_check(
    parts: Parts, client: httpx.Client
) -> None:
    assert client.base_url
    (redis,) = parts.running["redis"]
    (server,) = (int(pid) for pid in redis.run_in("pgrep", "redis-server").split())
    redis.run_in("kill", "-STOP", str(server))
    for _ in range(4):
        assert redis.problem()
        assert redis.process.poll() is None
    assert redis.problem()
    assert redis.process.wait(30) != 0
