"""A prefork worker's metrics, log and traces agree with the job."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.cluster import Cluster
from tests.faults.collector import Collector, collecting
from tests.faults.rounds import make_media, running
from tests.support.milvus_server import free_port
from tests.support.waiting import wait_for
from workers.jobs.board import JobBoard

PORT = free_port()
GRPC = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\]")  # gRPC writes to stderr itself, in C


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def cluster(tmp_path: Path, collector: Collector) -> Iterator[Cluster]:
    told = {
        "ANYMODAL_METRICS_PORT": str(PORT),
        "ANYMODAL_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with running(tmp_path / "cluster", TMPDIR=str(tmp_path), **told) as cluster:
        yield cluster


class Scrape:
    """All samples of one answer."""

    def __init__(self) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            self.samples = [sample for family in families for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples with these labels."""
        return sum(
            s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        return {s.labels[label]: s.value for s in self.samples if s.name == name and s.value}


def test_figures_agree_with_the_jobs_across_children_and_deaths(
    cluster: Cluster, collector: Collector, tmp_path: Path
) -> None:
    make_media(tmp_path / "first", 60, seed=1)
    out, err = cluster.ingest(tmp_path / "first", "--json").communicate(timeout=120)
    first = json.loads(out or err)
    scrape = at_rest()
    agree(scrape, first)
    assert {path.stem for path in tmp_path.glob("anymodal-metrics-*/counter_child*.db")} == {
        "counter_child0",
        "counter_child1",
    }
    assert all(counted(tmp_path, child) > 0 for child in (0, 1))
    for stage, seconds in first["stage_s"].items():
        spent_s = scrape.total("anymodal_stage_seconds_sum", stage=stage)
        assert spent_s == pytest.approx(seconds, abs=0.01)
    outcomes = scrape.by("anymodal_tasks_total", "outcome")
    worked_on = sum(n for outcome, n in outcomes.items() if outcome != "left")
    assert scrape.total("anymodal_shard_seconds_count") == worked_on
    writing = outcomes["done"] - 1  # the last shard looks for files that are gone, and finds none
    assert scrape.total("anymodal_store_write_seconds_count") >= writing
    assert scrape.total("anymodal_jobs") == 0
    traced(collector, n_files=60, n_tasks=int(sum(outcomes.values())))

    make_media(tmp_path / "second", 120, seed=2)
    process = cluster.ingest(tmp_path / "second", "--json")
    kill_at_work(cluster)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    scrape = at_rest()
    agree(scrape, first, json.loads(out))
    assert scrape.total("anymodal_leases_lost_total") == 1
    # The process that replaced the dead one continues its figures.
    assert len(list(tmp_path.glob("anymodal-metrics-*/counter_*.db"))) == 3

    # Without a broker, the workers' counts are still reported.
    assert scrape.total("anymodal_broker_up") == 1
    cluster.redis.kill()
    without = Scrape()
    assert without.total("anymodal_broker_up") == 0
    agree(without, first, json.loads(out))
    logged_as_told(cluster, [first, json.loads(out)])


def logged_as_told(cluster: Cluster, reports: list[dict[str, Any]]) -> None:
    """Every line is JSON; each dead letter has its line, with all ids; so has the end of a task."""
    written = cluster.workers[0].log().splitlines()
    lines = [json.loads(line) for line in written if not GRPC.match(line)]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    jobs = {report["job"] for report in reports}
    aside = [line for line in lines if line["message"].startswith("set aside")]
    letters = [letter for report in reports for letter in report["failures"]]
    for letter in letters:
        assert any(letter["uri"] in line["message"] for line in aside)
    for line in aside:
        assert line["job_id"] in jobs
        assert {"shard_id", "task_id"} <= line.keys()
    ended = [line for line in lines if " succeeded in " in line["message"]]
    assert {line["job_id"] for line in ended} == jobs
    received = [line for line in lines if line["message"].endswith(" received")]
    assert {line["task_id"] for line in ended} <= {line["task_id"] for line in received}


def traced(collector: Collector, n_files: int, n_tasks: int) -> None:
    """One trace: the job's span, below it the shards', below these their stages'."""

    def named(name: str) -> list[Span]:
        return [one for one in list(collector.spans) if one.name == f"anymodal.{name}"]

    wait_for(lambda: bool(named("job")) and len(named("shard")) == n_tasks, 30, "the spans")
    [job] = named("job")
    assert {one.trace_id for one in collector.spans} == {job.trace_id}
    shards = named("shard")
    assert {one.parent_span_id for one in shards} == {job.span_id}
    assert len(named("decode")) <= n_files
    for stage in ("identify", "lookup", "decode", "encode_text", "store"):
        assert named(stage)
        assert {one.parent_span_id for one in named(stage)} <= {one.span_id for one in shards}
    assert collector.services == {"anymodal"}


def at_rest() -> Scrape:
    """A job has ended when its last shard is counted, a moment before the task has."""
    wait_for(lambda: Scrape().total("anymodal_tasks_active") == 0, 30, "the end of all tasks")
    return Scrape()


def agree(scrape: Scrape, *reports: dict[str, Any]) -> None:
    """What was scraped is the sum of the jobs' reports."""
    outcomes = ("ingested", "unchanged", "failed")
    wanted = {name: sum(r[name] for r in reports) for name in outcomes}
    assert scrape.by("anymodal_files_total", "outcome") == {k: n for k, n in wanted.items() if n}
    assert scrape.total("anymodal_ingested_bytes_total") == sum(r["bytes"] for r in reports)
    segments = sum((Counter(r["segments"]) for r in reports), Counter())
    assert scrape.by("anymodal_segments_total", "modality") == segments
    errors = Counter(letter["error"] for r in reports for letter in r["failures"])
    assert scrape.by("anymodal_dead_letters_total", "error") == errors


def counted(folder: Path, child: int) -> float:
    """How many tasks a child noted by itself."""
    [path] = folder.glob(f"anymodal-metrics-*/counter_child{child}.db")
    values = MmapedDict.read_all_values_from_file(str(path))
    return sum(value for key, value, *_ in values if "anymodal_tasks_total" in key)


def kill_at_work(cluster: Cluster) -> None:
    """Kill -9 a child while both hold a shard: suspend them, look, and resume them if not."""
    board = JobBoard(cluster.broker)
    children = cluster.workers[0].children()
    while True:
        wait_for(
            lambda: any(board.shards.leased(job) for job in board.running()), 60, "the first shards"
        )
        signal_all(children, signal.SIGSTOP)
        [job_id] = board.running()
        tries = board.link.redis.hgetall(f"anymodal:job:{job_id}:tries")
        at_work = sum(f"{shard}:held" in tries for shard in board.shards.leased(job_id)) == 2
        if at_work:
            assert Scrape().total("anymodal_tasks_active") == 2
            os.kill(children.pop(), signal.SIGKILL)
        signal_all(children, signal.SIGCONT)
        if at_work:
            return
        time.sleep(0.05)


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)
