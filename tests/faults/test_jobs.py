"""Jobs over Redis and a Milvus server while things die: nothing lost, nothing twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from search.store.open import open_store
from tests.faults.cluster import IN_WORKERS, Cluster, answers
from tests.faults.rounds import check, make_media, running
from tests.faults.tiny_worker import DIM, SPACE
from tests.support.waiting import wait_for
from workers.config import Settings
from workers.jobs.board import JobBoard


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("cluster") / "parts", **IN_WORKERS) as cluster:
        yield cluster


def test_dead_letters_are_listed_and_replayed(cluster: Cluster, tmp_path: Path) -> None:
    media = tmp_path / "media"
    make_media(media, 24, seed=50)
    job_id = json.loads(cluster.ingest(media, "--detach").communicate(timeout=60)[0])["job"]
    board = JobBoard(cluster.broker)
    wait_for(lambda: board.status(job_id).ended, 60, "the job")
    shown = cluster.anymodal("jobs", "show", job_id, "--failed")
    assert [Path(f["uri"]).name for f in shown["failures"]] == ["0007.png"]
    assert shown["failures"][0]["error"] == "CorruptMediaError"

    # Mended, it is ingested by the retry; the job is done again, its counts right.
    (media / "0007.png").write_bytes((media / "0003.png").read_bytes())
    assert cluster.anymodal("jobs", "retry", job_id)["retried"] == 1
    wait_for(lambda: board.status(job_id).ended, 60, "the retry")
    job = board.status(job_id)
    assert (job.state, job.n_done, job.failed) == ("done", 24, 0)
    assert job_id in [job["id"] for job in cluster.anymodal("jobs")["jobs"]]


def test_a_cancelled_job_stops_and_can_be_taken_up_again(cluster: Cluster, tmp_path: Path) -> None:
    media = tmp_path / "media"
    make_media(media, 120, seed=60)
    job_id = json.loads(cluster.ingest(media, "--detach").communicate(timeout=60)[0])["job"]
    board = JobBoard(cluster.broker)
    wait_for(lambda: board.status(job_id).n_done > 0, 60, "the first files")
    cluster.workers[0].stop()  # else the job may be done before the command has started
    assert cluster.anymodal("jobs", "cancel", job_id)["cancelled"]
    cluster.workers[0].go_on()
    wait_for(lambda: board.status(job_id).ended, 60, "the shards under way")
    job = board.status(job_id)
    assert (job.state, job.open_shards) == ("cancelled", 0)
    assert job.n_done < 120
    assert job.ingested + job.unchanged == n_stored(cluster, media)

    assert cluster.anymodal("jobs", "retry", job_id)["planned_anew"]
    wait_for(lambda: board.status(job_id).ended, 60, "the second plan")
    job = board.status(job_id)
    assert (job.state, job.n_files, job.n_done, job.failed) == ("done", 120, 120, 6)


def n_stored(cluster: Cluster, media: Path) -> int:
    store = open_store(cluster.milvus.uri, SPACE.fingerprint, DIM)
    uris = [uri for row in store.scan() for uri in row.locations]
    store.close()
    return sum(uri.startswith(str(media)) for uri in uris)


def test_sigterm_finishes_the_shard_under_way(cluster: Cluster, tmp_path: Path) -> None:
    media = tmp_path / "media"
    make_media(media, 60, seed=70)
    process = cluster.ingest(media, "--json")
    board = JobBoard(cluster.broker)
    wait_for(lambda: any(not job.ended and job.n_done for job in board.recent()), 60, "the start")
    job = next(job for job in board.recent() if not job.ended)
    worker = cluster.workers[0]
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert not board.shards.leased(job.job_id)
    worker.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    check(cluster, media, json.loads(out))


def test_a_worker_comes_back_after_the_broker_was_away_while_idle(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.redis.kill()
    time.sleep(2)
    cluster.redis.start()
    wait_for(lambda: answers(cluster.redis_port), 30, "Redis")
    media = tmp_path / "media"
    make_media(media, 24, seed=80)
    out, err = cluster.ingest(media, "--json").communicate(timeout=120)
    check(cluster, media, json.loads(out or err))


def test_a_worker_begins_no_more_shards_than_its_limit(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for number in range(12):
        (media / f"{number}.txt").write_text(f"The {number} of many short notes.")
    limits = {"ANYMODAL_RATE_LIMIT": "2/s", "ANYMODAL_SHARD_FILES": "1"}
    with running(tmp_path / "cluster", **IN_WORKERS, **limits) as cluster:
        out, err = cluster.ingest(media, "--json").communicate(timeout=120)
        facts = json.loads(out or err)
        assert facts["ingested"] == 12
        # 12 shards, of which the first ones may begin at once
        assert cluster.anymodal("jobs", "show", facts["job"])["seconds"] > 4


def test_a_rate_that_celery_does_not_know() -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit="fast")
