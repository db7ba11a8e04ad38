"""The boards of jobs and shards, and how large a shard is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from encoder.errors import CorruptMediaError
from ingest.config import IngestConfig
from search.errors import NotFoundError
from search.types import IngestRequest
from tests.unit.workers.jobs.planned import Sent, ingested, later, planned, sent_of
from workers.cli.jobs import job_facts
from workers.config import Settings
from workers.jobs.board import JobBoard
from workers.jobs.planner import files_of_job, replay
from workers.jobs.recovery import Sweeper
from workers.jobs.shard import Claim, Shard, queue_name
from workers.pipeline.files import WalkedFolders, shards
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
    job_id = board.create(IngestRequest(["/data"], labels=labels, verify=True))
    sent = sent_of(board, job_id, ["/a.txt", "/b.mp4"])
    assert [(shard.request.labels, shard.request.verify) for _, _, shard in sent] == [
        (labels, True)
    ] * 2
    for _, shard_id, _ in sent:
        claim = board.shards.claim(job_id, shard_id)
        assert claim
        assert claim.shard.request.labels == labels
        report = IngestReport()
        report.fail(claim.shard.paths[0], CorruptMediaError("no", "Mend it."))
        board.shards.finish(job_id, shard_id, report)
    sent.clear()
    replay(board, job_id, lambda *message: sent.append(message))
    assert [(shard.request.labels, shard.request.verify) for _, _, shard in sent] == [
        (labels, True)
    ] * 2
    assert job_facts(board.status(job_id))["labels"] == labels


def test_a_filter_reaches_every_shard_and_nothing_is_forgotten(
    board: JobBoard, tmp_path: Path
) -> None:
    within = {"field": "tags", "contains": "anna"}
    (tmp_path / "a.txt").write_text("A text.")
    for request, n_last in (
        (IngestRequest([str(tmp_path)], key="3f9c0d1e", within=within), 0),
        (IngestRequest([str(tmp_path)]), 1),
    ):
        job_id = board.create(request)
        walked = WalkedFolders(request.paths, IngestConfig())
        sent = sent_of(board, job_id, files_of_job(board, job_id, walked), walked=walked)
        assert [shard.request.within for _, _, shard in sent if shard.paths] == [request.within]
        assert sum(bool(shard.folders) for _, _, shard in sent) == n_last
        job = board.status(job_id)
        assert (job.request.key, job.request.within) == (request.key, request.within)


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
    assert not board.shards.add(job_id, "more", Shard("text", IngestRequest(["/e.txt"])), "")
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
    assert board.shards.finish(job_id, shard_id, IngestReport(), {"part": shard.of(["/a.txt"])})
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


def test_a_shard_is_counted_once_however_many_finish_it(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.shards.claim(job_id, shard_id)
    with ThreadPoolExecutor(4) as pool:
        counted = list(
            pool.map(lambda _: board.shards.finish(job_id, shard_id, ingested(1)), range(8))
        )
    assert sorted(counted) == [False] * 7 + [True]
    assert board.status(job_id).ingested == 1


def test_one_worker_at_a_time_holds_a_shard(url: str) -> None:
    board = JobBoard(url, lease_s=60)
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: board.shards.claim(job_id, shard_id), range(8)))
    assert [claim for claim in claims if claim] == [Claim(shard)]


def test_a_silent_worker_loses_its_shard_to_one_sweeper(board: JobBoard, url: str) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    board.shards.claim(job_id, shard_id)
    sent: Sent = []
    Sweeper(board, lambda *message: sent.append(message)).sweep()
    assert sent == []
    later(board, 60)
    board.link.redis.delete("anymodal:sweep")
    sweepers = [Sweeper(JobBoard(url), lambda *message: sent.append(message)) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.sweep()
    first = replace(shard.request, priority="interactive")
    assert sent == [(job_id, shard_id, replace(shard, request=first))]
    assert board.shards.claim(job_id, shard_id) == Claim(shard, crashes=1, taken_over=True)


def test_a_beat_keeps_the_shard(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.shards.claim(job_id, shard_id)
    for _ in range(3):
        later(board, 40)
        assert board.shards.beat(job_id, shard_id)
    assert board.shards.due(job_id) == {}


def test_a_lost_message_is_sent_again_but_not_one_that_waits(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    sent: Sent = []
    sweeper = Sweeper(board, lambda *message: sent.append(message))

    def sweep() -> None:
        board.link.redis.delete("anymodal:sweep")
        sweeper.sweep()

    board.link.redis.lpush(queue_name("text"), "somebody's message")
    for _ in range(5):
        sweep()
    assert sent == []
    board.link.redis.delete(queue_name("text"))
    board.link.redis.lpush(queue_name("video"), "a film that no worker takes")
    for _ in range(3):
        sweep()
    first = replace(shard.request, priority="interactive")
    assert sent == [(job_id, shard_id, replace(shard, request=first))]


def test_what_is_released_waits_and_may_be_forgiven(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    board.shards.claim(job_id, shard_id)
    board.shards.release(job_id, shard_id, 30, forgive=True)
    assert board.shards.claim(job_id, shard_id) is None
    later(board, 30)
    assert board.shards.due(job_id) == {shard_id: False}
    assert board.shards.claim(job_id, shard_id) == Claim(shard)


def test_names_that_are_not_utf8_travel(board: JobBoard) -> None:
    name = b"/\xff.txt".decode(errors="surrogateescape")
    job_id, [(_, shard_id, _)] = planned(board, name)
    claimed = board.shards.claim(job_id, shard_id)
    assert claimed
    assert claimed.shard.paths == [name]
    report = IngestReport()
    report.fail(name, CorruptMediaError("bad name"))
    board.shards.finish(job_id, shard_id, report)
    assert board.status(job_id).failed == 1


def test_a_shard_is_about_a_second_of_work_whatever_its_kind() -> None:
    names = [f"{n}.{suffix}" for n in range(192) for suffix in ("txt", "jpg", "wav", "mp4")]
    sizes = {(cost, len(paths)) for cost, paths in shards(names, Settings().shard_files)}
    assert sizes == {("text", 96), ("image", 96), ("audio", 12), ("video", 1)}


def test_small_shards_hold_one_file_at_least() -> None:
    assert [paths for _, paths in shards(["a.wav", "b.mp4", "c.wav"], 2)] == [
        ["a.wav"],
        ["b.mp4"],
        ["c.wav"],
    ]


def test_a_shard_of_large_files_holds_fewer(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_bytes(b"x" * 2**20)
    names = [str(tmp_path / f"{number}.txt") for number in (0, 1, 2, 3, "missing")]
    assert [paths for _, paths in shards(names, 64)] == [names[:2], names[2:4], names[4:]]


def test_names_that_no_file_can_have_are_left_to_the_workers() -> None:
    names = ["nul\0.txt", "https://example.org/a.txt"]
    assert list(shards(names, 64)) == [("text", names)]
