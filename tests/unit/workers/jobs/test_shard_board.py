"""The shards of a job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from encoder.errors import CorruptMediaError
from tests.unit.workers.jobs.planned import Sent, ingested, later, planned
from workers.jobs.board import JobBoard
from workers.jobs.recovery import Sweeper
from workers.jobs.shard import Claim, queue_name
from workers.pipeline.reports import IngestReport


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
    assert sent == [(job_id, shard_id, replace(shard, priority=0))]
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
    assert sent == [(job_id, shard_id, replace(shard, priority=0))]


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
