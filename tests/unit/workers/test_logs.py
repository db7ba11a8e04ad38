"""Logs, metrics, traces and health of a process."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from encoder.errors import InputError, ModelError
from encoder.types import TEXT
from ingest.types import Asset, Segment
from search.store.memory import MemoryStore
from search.types import IngestRequest
from tests.faults.tiny_worker import DIM, TinyEncoder
from tests.support.http_server import answering
from tests.support.valkey import valkey_server
from workers.app import app
from workers.config import Settings
from workers.jobs import broker_metrics
from workers.jobs.board import JobBoard
from workers.jobs.broker import publish_now
from workers.jobs.broker_metrics import BrokerCollector
from workers.jobs.planner import plan
from workers.jobs.shard import queue_name
from workers.observe import metrics, tracing
from workers.observe.logs import about, set_up
from workers.observe.metrics_server import serving
from workers.observe.probes import Probes
from workers.observe.tracing import received, span
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.reports import IngestReport
from workers.pipeline.streams import decode_side_by_side
from workers.serving.health import problem_at

logger = logging.getLogger("tests.logs")
URLS = ["redis://me:p%40ss1@host:6379/0", "http://root:Milvus9@host:19530"]
SetUp = Callable[[str], None]


@pytest.fixture
def logs() -> Iterator[SetUp]:
    """Set the root logger up; afterwards it is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers.clear()
    yield lambda form: set_up(form, "INFO", URLS)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_are_json_with_ids(logs: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    logs("json")
    with about(job_id="j", shard_id="s"), about(asset_id="a"):
        logger.info("two\nlines, %s", "ä")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, logger.info, "in a thread").result()
    logger.debug("not this")
    logger.warning("after", extra={"data": {"id": "t"}})
    first, second, third = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "INFO",
        "logger": "tests.logs",
        "message": "two\nlines, ä",
        "job_id": "j",
        "shard_id": "s",
        "asset_id": "a",
    }
    assert (second["message"], second["job_id"]) == ("in a thread", "j")
    assert (third["task_id"], "job_id" in third) == ("t", False)


def test_text_lines_carry_the_same(logs: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    logs("text")
    with about(task_id="t"):
        logger.error("bad")
    line = capsys.readouterr().err
    assert line.split(" ", 1)[1] == "ERROR tests.logs bad task_id=t\n"


def test_what_a_decoder_says_names_the_asset(
    logs: SetUp, capsys: pytest.CaptureFixture[str]
) -> None:
    asset = Asset("a", "/a", TEXT, "text/plain", 1)

    def decode(_: Asset) -> Iterator[Segment]:
        logger.info("an odd header")
        yield from ()

    logs("json")
    with about(job_id="j"):
        assert len(list(decode_side_by_side([asset], decode, threads=1, max_waiting=1))) == 1
    line = json.loads(capsys.readouterr().err)
    assert (line["job_id"], line["asset_id"]) == ("j", asset.asset_id)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_password_is_written(logs: SetUp, capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs(form)
    logger.info("connected to %s with p@ss1", URLS[0])
    try:
        raise ConnectionError(f"{URLS[1]} refused Milvus9, amqp://guest:other7@there")
    except ConnectionError:
        logger.exception("away")
    written = capsys.readouterr().err
    assert "ConnectionError: http://**@host:19530 refused **" in written
    assert not any(secret in written for secret in ("p%40ss1", "p@ss1", "Milvus9", "other7"))


def test_an_error_names_a_wrong_broker_without_its_password() -> None:
    with pytest.raises(InputError) as wrong:
        JobBoard("amqp://me:secret1@host")
    assert "amqp://**@host" in str(wrong.value)
    assert "secret1" not in str(wrong.value)


PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
ROW = re.compile(r"^\| `(anymodal_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", re.MULTILINE)
SUFFIX = re.compile(r"_(bucket|count|sum)$")


def test_the_documentation_lists_every_metric_as_it_is() -> None:
    assert broker_metrics
    made = [(d.name, d.metric_type, ", ".join(d.labels), d.meaning) for d in metrics.DESCRIPTIONS]
    assert ROW.findall(PAGE) == made
    assert len({name for name, *_ in made}) == len(made)


def test_every_metric_that_is_asked_for_exists() -> None:
    known = {d.name: set(d.labels) | {"le"} for d in metrics.DESCRIPTIONS}
    asked = re.findall(r"(anymodal_\w+)(?:\{(\w+)=)?", PAGE)
    assert len(asked) > len(known)
    for name, label in asked:
        name = name if name in known else SUFFIX.sub("", name)
        assert name in known
        assert not label or label in known[name]


def test_a_broker_that_is_away_is_a_figure() -> None:
    [family] = BrokerCollector("redis://127.0.0.1:1/0", 64).collect()
    assert (family.name, [sample.value for sample in family.samples]) == ("anymodal_broker_up", [0])


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # so that it is restored afterwards
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(broker="redis://127.0.0.1:1/0", metrics_port=port)
        with (
            pytest.raises(InputError, match=rf"--metrics-port.*127\.0\.0\.1:{port}"),
            serving(
                settings,
                lambda: BrokerCollector(settings.broker, settings.queue_shards),
                Probes(bool, bool, 1),
            ),
        ):
            pass


ANSWERS = {
    "/readyz": (200, '{"status":"ok"}'),
    "/down": (503, '{"checks":{"broker":{"ok":false}}}'),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, body = ANSWERS[self.path]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with answering(Handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_what_is_not_ready_is_said(url: str) -> None:
    assert problem_at(url + "/readyz") == ""
    assert "broker" in problem_at(url + "/down")
    assert "refused" in problem_at("http://127.0.0.1:1/readyz")


@pytest.mark.parametrize(("path", "code"), [("/readyz", 0), ("/down", 1)])
def test_the_exit_code_shows_it(url: str, path: str, code: int) -> None:
    environment = {"ANYMODAL_HEALTH_URL": url + path}
    program = [sys.executable, "-m", "workers.serving.health"]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == code
    assert bool(ran.stderr) == bool(code)


if TYPE_CHECKING:
    from encoder import MultiModalEncoder


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The SDK with an in-memory exporter."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", lambda: provider.get_tracer("anymodal"))
    yield exporter
    provider.shutdown()


@pytest.fixture
def no_connections() -> Iterator[None]:
    """Forget connections to the broker of another test, before and after."""
    app._after_fork()
    yield
    app._after_fork()


@pytest.mark.usefixtures("no_connections")
def test_a_shard_carries_its_jobs_span_through_the_board_and_the_message(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey_server() as server:
        url = f"redis://{server.host}:{server.port}/0"
        monkeypatch.setattr(app.conf, "broker_url", url)
        board = JobBoard(url)
        job_id = board.create(IngestRequest(["/data"]))
        plan(board, job_id, ["/a.txt"], publish_now, shard_files=1, queue_shards=9)
        [(shard_id, shard)] = board.shards.open(job_id).items()
        with app.connection_for_read(url) as connection:
            message = connection.SimpleQueue(queue_name("text")).get(timeout=60)
            headers = message.headers
            message.ack()
    [job] = exporter.get_finished_spans()
    assert (job.name, dict(job.attributes or {})) == ("anymodal.job", {"anymodal.job_id": job_id})
    assert job.context is not None
    assert f"{job.context.trace_id:032x}-{job.context.span_id:016x}" in shard.trace["traceparent"]
    assert headers["traceparent"] == shard.trace["traceparent"]  # as Celery hands it to the task

    with span("shard", received(SimpleNamespace(**headers)), job_id=job_id, shard_id=shard_id):
        report = IngestReport()
        with report.timed("identify"):
            pass
        asset = Asset("x", "/a.txt", TEXT, "text/plain", 1)
        assert list(decode_side_by_side([asset], nothing, threads=1, max_waiting=1))
    spans = {one.name: one for one in exporter.get_finished_spans()}
    shard_span = spans["anymodal.shard"]
    assert parent_of(shard_span) == job.context.span_id
    assert shard_span.context is not None
    for name in ("anymodal.identify", "anymodal.decode"):
        assert parent_of(spans[name]) == shard_span.context.span_id
    assert {one.context.trace_id for one in spans.values() if one.context} == {job.context.trace_id}
    assert dict(spans["anymodal.decode"].attributes or {}) == {"anymodal.asset_id": "x"}


def test_a_call_of_the_model_follows_the_conventions(exporter: InMemorySpanExporter) -> None:
    with span("encode_text"), tracing.embedding("bundle:english", 384):
        pass
    with pytest.raises(ModelError), tracing.embedding("dir:/home/me/model", 32):
        raise ModelError("It failed.", remedy="Try again.")
    inner, outer, failed = exporter.get_finished_spans()
    assert outer.context is not None
    assert parent_of(inner) == outer.context.span_id
    assert inner.name == "embeddings bundle:english"
    assert dict(inner.attributes or {}) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "anymodal",
        "gen_ai.request.model": "bundle:english",
        "gen_ai.embeddings.dimension.count": 384,
    }
    assert failed.name == "embeddings dir:model"
    assert (failed.attributes or {})["error.type"] == "ModelError"


def test_each_batch_of_an_ingest_has_its_span(
    exporter: InMemorySpanExporter, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("A note.")
    job = IngestJob(cast("MultiModalEncoder", TinyEncoder()), MemoryStore(DIM))
    assert job.run([str(tmp_path / "note.txt")]).ingested == 1
    spans = {one.name: one for one in exporter.get_finished_spans()}
    outer = spans["anymodal.encode_text"]
    assert outer.context is not None
    assert parent_of(spans[f"embeddings {TinyEncoder.model}"]) == outer.context.span_id


def test_without_opentelemetry_nothing_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_tracer", lambda: None)
    with span("job", job_id="j"), tracing.embedding("bundle:english", 384):
        assert tracing.carrier() == {}
    assert received(SimpleNamespace(traceparent="00-1-2-01")) == {}
    tracing.stop()


def test_nothing_is_sent_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Sequence[str] = tracing._ASKED_BY
    for name in asked:
        monkeypatch.delenv(name, raising=False)
    tracing.start()
    assert tracing.carrier() == {}
    with span("job"):
        assert tracing.carrier() == {}  # a span that is not recorded has no id to pass on


def nothing(_: Asset) -> Iterator[Segment]:
    yield from ()


def parent_of(one: ReadableSpan) -> int | None:
    return one.parent.span_id if one.parent else None
