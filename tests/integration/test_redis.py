"""The same job shared through Redis with a worker in a separate process."""

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from search.api.responses.plain_values import job_json
from search.api.schemas import JobOut
from search.types import IngestRequest
from tests.integration.conftest import ANYMODAL, Run
from tests.support.milvus_server import free_port
from tests.support.s3_server import BUCKET, S3Server, s3_server
from tests.support.valkey import valkey_server
from workers.config import current_settings
from workers.jobs.board import JobBoard
from workers.jobs.redis import RedisJobs
from workers.jobs.shard import Shard
from workers.pipeline.reports import IngestReport
from workers.serving.data_folder import uploads_of

PORT = free_port()
PASSWORD = "not-for-logs"


@pytest.fixture
def broker() -> Iterator[str]:
    with valkey_server() as server, Redis(host=server.host, port=server.port) as client:
        client.config_set("requirepass", PASSWORD)
        yield f"redis://:{PASSWORD}@{server.host}:{server.port}/0"


@pytest.fixture
def bucket() -> Iterator[S3Server]:
    with s3_server() as running:
        running.put_all({"notes/ferry.txt": "The ferry to the island leaves at nine."})
        yield running


@pytest.fixture
def worker(
    broker: str, bucket: S3Server, tmp_path: Path, bundle_home: Path
) -> Iterator[subprocess.Popen[bytes]]:
    assert bundle_home.is_dir()
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [ANYMODAL, "worker", "--broker", broker, "--metrics-port", str(PORT)],
            env={
                **os.environ,
                "ANYMODAL_STORE": str(tmp_path / "data" / "store"),
                "ANYMODAL_INGEST__STORAGE_OPTIONS": bucket.setting,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_worker_does_what_another_process_plans(
    anymodal: Run,
    here: Run,
    media: Path,
    bucket: S3Server,
    broker: str,
    worker: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    report = anymodal("ingest", media, "--broker", broker)
    assert report["ingested"] == 6
    assert [Path(f["uri"]).name for f in report["failures"]] == ["broken.png"]
    assert anymodal("ingest", media, "--broker", broker)["unchanged"] == 6

    options = {"ANYMODAL_INGEST__STORAGE_OPTIONS": bucket.setting}
    objects = anymodal("ingest", f"s3://{BUCKET}/notes", "--broker", broker, **options)
    assert (objects["ingested"], objects["failures"]) == (1, [])

    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [(s.name, *s.labels.values(), s.value) for f in families for s in f.samples]
    loads = {part: n for name, part, n in filter(is_load, samples)}
    assert loads == {"model": 1, "text": 1, "image": 1, "audio": 1}
    texts = report["segments"]["text"] + objects["segments"]["text"]
    assert ("anymodal_batch_items_sum", "text", float(texts)) in samples
    [tokens] = [s[-1] for s in samples if s[0] == "anymodal_tokens_total"]
    assert 30 < tokens < 75  # three short texts
    assert ("anymodal_files_total", "unchanged", 6.0) in samples

    log = (tmp_path / "worker.log").read_text()
    assert "broken.png" in log
    assert f"redis://**@127.0.0.1:{broker.split(':')[-1]}" in log
    assert PASSWORD not in log

    # A client of the broker cannot have a worker do anything but answer.
    with Celery(broker=broker).connection_or_acquire() as connection:
        control = Celery(broker=broker).control
        answers = control.inspect(timeout=10, connection=connection, limit=1).stats()
        assert [answer.keys() for answer in answers.values()] == [{"error"}]
        control.broadcast("shutdown", connection=connection)
        assert control.ping(timeout=10, connection=connection, limit=1)

    # Others write to the folder meanwhile.
    assert here("ingest", media / "texts")["unchanged"] == 2
    hits = here("search", "how to bake bread", "--modality", "text")["hits"]
    assert Path(hits[0]["uri"]).name == "bread.txt"

    # It learns of files that were renamed or deleted.
    (media / "texts" / "bread.txt").rename(media / "loaf.txt")
    (media / "texts" / "space.md").unlink()
    told = anymodal("ingest", media, "--broker", broker)
    assert (told["ingested"], told["unchanged"]) == (0, 5)
    assert (told["dropped"], told["gone"], told["pruned"]) == (1, 1, 0)
    told = anymodal("ingest", media, "--broker", broker, "--prune=all")
    assert (told["dropped"], told["gone"], told["pruned"]) == (0, 0, 1)
    told = anymodal("ingest", media, "--broker", broker, "--kind", "text")
    assert (told["unchanged"], told["left_out"], told["failed"]) == (1, 5, 0)
    job_id = anymodal("ingest", media, "--broker", broker, "--prune", "--detach")["job"]
    board = JobBoard(broker)
    while not (job := board.status(job_id)).ended:
        time.sleep(0.1)
    assert (job.state, job.request.prune, job.n_files, job.open_shards) == ("done", True, 6, 0)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


def is_load(sample: tuple[object, ...]) -> bool:
    return sample[0] == "anymodal_model_load_seconds_count"


def test_a_broker_that_is_away_is_named(anymodal: Run, media: Path) -> None:
    away = "redis://127.0.0.1:1/0"
    error = anymodal("ingest", media, "--broker", away, fails=1)
    assert away in error
    assert "--broker" in error


def test_cancel_says_whether_something_is_still_under_way(anymodal: Run, broker: str) -> None:
    board = JobBoard(broker)
    job_id = board.create(IngestRequest(["/a.txt", "/b.txt"]))
    assert board.planners.begin(job_id, "planner")
    for shard_id in ("held", "waits"):
        board.shards.add(
            job_id, shard_id, Shard("text", IngestRequest([f"/{shard_id}.txt"])), "planner"
        )
    assert board.shards.claim(job_id, "held")
    told = anymodal("jobs", "cancel", job_id, "--broker", broker)
    assert told == {"id": job_id, "cancelled": True, "state": "cancelling"}
    job = RedisJobs(board, current_settings()).status(job_id)
    assert JobOut(**job_json(job, uploads_of(None))).state == "cancelling"

    board.shards.finish(job_id, "held", IngestReport(ingested=1))
    told = anymodal("jobs", "cancel", job_id, "--broker", broker)
    assert told == {"id": job_id, "cancelled": False, "state": "cancelled"}
