"""The state of jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from encoder.errors import CorruptMediaError
from search.errors import NotFoundError
from search.types import IngestRequest
from tests.unit.workers.jobs.planned import ingested, later, planned, sent_of
from workers.cli.jobs import job_facts
from workers.jobs.board import JobBoard
from workers.jobs.planner import replay
from workers.jobs.shard import Claim, Shard
from workers.pipeline.reports import IngestReport


def test_a_job_is_done_when_its_last_shard_is(board: JobBoard) -> None:
    job_id, sent = planned(board, "/a.txt", "/b.txt", "/c.txt")
    assert [shard.paths for _, _, shard in sent] == [["/a.txt", "/b.txt"], ["/c.txt"]]
    for _, shard_id, shard in sent:
        assert board.status(job_id).state == "running"
        assert board.shards.claim(job_id, shard_id) == Claim(shard)
        assert board.shards.finish(job_id, shard_id, ingested(len(shard.paths)))
    job = board.status(job_id)
    assert (job.state, job.n_files, job.ingested, job.n_bytes) == ("done", 3, 3, 30)
    assert job.segments == {"text": 9}
    assert board.running() == []


def test_labels_reach_every_shard_also_when_it_is_sent_again(board: JobBoard) -> None:
    labels = {"tags": ["sea"], "year": 1999}
    job_id = board.create(IngestRequest(["/data"], labels=labels))
    sent = sent_of(board, job_id, ["/a.txt", "/b.mp4"])
    assert [shard.labels for _, _, shard in sent] == [labels] * 2
    for _, shard_id, _ in sent:
        claim = board.shards.claim(job_id, shard_id)
        assert claim
        assert claim.shard.labels == labels
        report = IngestReport()
        report.fail(claim.shard.paths[0], CorruptMediaError("no", "Mend it."))
        board.shards.finish(job_id, shard_id, report)
    sent.clear()
    replay(board, job_id, lambda *message: sent.append(message))
    assert [shard.labels for _, _, shard in sent] == [labels] * 2
    assert job_facts(board.status(job_id))["labels"] == labels


def test_a_cancelled_job_counts_what_was_under_way_and_takes_no_more(board: JobBoard) -> None:
    names = ("/a.txt", "/b.txt", "/c.txt", "/d.txt")
    job_id, sent = planned(board, *names, shard_files=1)
    at_work, stored, waits, queued = [shard_id for _, shard_id, _ in sent]
    for shard_id in (at_work, stored, waits):
        board.shards.claim(job_id, shard_id)
    board.shards.begun(job_id, stored, ["x"])
    for shard_id in (stored, waits):  # the store failed; of one, something may be there
        board.shards.release(job_id, shard_id, 0.0)
    assert board.cancel(job_id)
    assert not board.shards.add(job_id, "more", Shard("text", ["/e.txt"]), "")
    assert sorted(board.shards.open(job_id)) == [at_work, stored]
    assert board.shards.claim(job_id, queued) is None
    assert (board.status(job_id).state, board.running()) == ("cancelling", [job_id])

    assert not board.shards.beat(job_id, at_work)  # it is to stop, and keeps its lease until then
    assert board.shards.finish(job_id, at_work, ingested(1))
    assert board.shards.claim(job_id, stored)
    assert board.shards.finish(job_id, stored, ingested(1))
    job = board.status(job_id)
    assert (job.state, job.ended, job.ingested, job.n_files) == ("cancelled", True, 2, 4)
    assert board.running() == []
    assert not board.cancel(job_id)


def test_a_cancelled_job_ends_though_its_worker_died(board: JobBoard) -> None:
    job_id, [(_, dead, _), (_, unfit, _)] = planned(board, "/a.txt", "/b.txt", shard_files=1)
    board.shards.claim(job_id, dead)
    board.shards.claim(job_id, unfit)
    assert board.cancel(job_id)
    board.shards.release(
        job_id, unfit, 30.0, forgive=True
    )  # nothing of it is stored: not tried again
    assert sorted(board.shards.open(job_id)) == [dead]
    later(board, 60)
    assert board.shards.due(job_id) == {dead: True}
    assert board.shards.claim(job_id, dead) is None  # nor is this
    assert board.status(job_id).state == "cancelled"


def test_a_cancelled_job_is_not_divided(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt", "/b.txt")
    board.shards.claim(job_id, shard_id)
    board.cancel(job_id)
    assert board.shards.finish(
        job_id, shard_id, IngestReport(), {"part": replace(shard, paths=["/a.txt"])}
    )
    assert (board.status(job_id).state, board.shards.open(job_id)) == ("cancelled", {})


def test_a_job_that_is_not_there_is_named(board: JobBoard) -> None:
    with pytest.raises(NotFoundError, match="'nope'"):
        board.status("nope")


def test_everything_expires(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.shards.claim(job_id, shard_id)
    board.shards.begun(job_id, shard_id, ["x"])
    report = IngestReport()
    report.fail("/a.txt", CorruptMediaError("bad"))
    board.shards.finish(job_id, shard_id, report)
    keys = board.link.redis.keys(f"anymodal:job:{job_id}*")
    assert keys
    assert all(board.link.redis.ttl(key) > 0 for key in keys)
