"""Spans of a job, from its plan over the message to the stages of its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from encoder.errors import ModelError
from encoder.types import TEXT
from ingest.types import Asset, Segment
from search.store.memory import MemoryStore
from search.types import IngestRequest
from tests.faults.tiny_worker import DIM, TinyEncoder
from tests.support.valkey import valkey_server
from workers.app import app
from workers.jobs.board import JobBoard
from workers.jobs.broker import publish_now
from workers.jobs.planner import plan
from workers.jobs.shard import queue_name
from workers.observe import tracing
from workers.observe.tracing import received, span
from workers.pipeline.ingest_job import IngestJob
from workers.pipeline.reports import IngestReport
from workers.pipeline.streams import decode_side_by_side

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
