"""Finding the files of a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from ingest.config import IngestConfig
from search.types import IngestRequest
from tests.unit.workers.jobs.planned import Sent, ingested, sent_of
from workers.cli.jobs import job_facts
from workers.jobs import planner
from workers.jobs.board import JobBoard
from workers.jobs.planner import files_of_job, plan, replay
from workers.jobs.shard import queue_name
from workers.jobs.shard_run import ShardRun
from workers.pipeline.files import WalkedFolders
from workers.pipeline.reports import IngestReport


def test_a_refused_link_is_a_dead_letter_that_is_not_followed_later(
    board: JobBoard, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "in" / "leak.txt").symlink_to(tmp_path / "secret.txt")
    job_id = board.create(IngestRequest([str(tmp_path / "in")]))
    sent = sent_of(board, job_id, files_of_job(board, job_id))
    [(_, shard_id, shard)] = sent
    assert [Path(path).name for path in shard.paths] == ["a.txt"]
    board.shards.claim(job_id, shard_id)
    board.shards.finish(job_id, shard_id, ingested(1))
    job = board.status(job_id)
    assert (job.state, job.n_files, job.n_done, job.failed) == ("done", 2, 2, 1)
    [letter] = board.failures(job_id)
    assert (Path(letter.uri).name, letter.error) == ("leak.txt", "RefusedLinkError")
    assert replay(board, job_id, lambda *message: sent.append(message)) == 0
    assert board.status(job_id).failed == 1


def test_what_is_gone_is_looked_for_once_all_else_is_done(board: JobBoard, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    paths = [str(tmp_path), str(tmp_path / "a.txt"), "https://example.org/b.txt"]
    job_id = board.create(IngestRequest(paths, prune=True))
    walked = WalkedFolders(paths, IngestConfig())
    sent = sent_of(board, job_id, files_of_job(board, job_id, walked), walked=walked, shard_files=9)
    (_, files_id, _), (_, last_id, last) = sent
    assert (last.paths, last.folders, last.request.prune) == ([], [str(tmp_path)], True)
    assert board.status(job_id).n_files == 3

    asked: list[object] = []

    late = [SoftTimeLimitExceeded()]

    def forget(folders: Sequence[str], prune: bool) -> IngestReport:
        asked.append((list(folders), prune))
        if late:
            raise late.pop()
        return IngestReport(gone=Counter(dropped=2, pruned=1))

    run = ShardRun(
        board,
        lambda request, *_: ingested(len(request.paths)),
        reopen=lambda: None,
        publish=lambda *_: None,
        limit_s=0.0,
        shutdown_s=0.0,
        forget=forget,
    )
    assert run.run(job_id, last_id) == "waits"  # the other shard waits for a worker
    assert asked == []
    assert run.run(job_id, files_id) == "done"
    board.link.redis.delete(f"anymodal:job:{job_id}:lease")  # its wait is over
    assert board.status(job_id).state == "running"
    assert run.run(job_id, last_id) == "waits"  # it took too long, and no file is at fault
    board.link.redis.delete(f"anymodal:job:{job_id}:lease")
    assert run.run(job_id, last_id) == "done"
    assert asked == [([str(tmp_path)], True)] * 2
    job = board.status(job_id)
    assert (job.state, job.n_files, job.ingested) == ("done", 3, 3)
    told = job_facts(job)
    assert (told["dropped"], told["gone"], told["pruned"]) == (2, 0, 1)


@pytest.mark.slow
def test_the_planner_waits_while_the_queue_is_deep(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "_HELD_BACK_FILES", 3)
    job_id = board.create(IngestRequest(["/data"]))
    polls = count()

    def send(*_: object) -> None:
        board.link.redis.lpush(queue_name("text"), "message")

    names = (f"/{n}.txt" for n in range(1_000_000))
    plan(
        board,
        job_id,
        names,
        send,
        shard_files=1,
        queue_shards=5,
        stopped=lambda: next(polls) > 14,  # 8 shards, then one poll every 0.2 s
    )
    assert board.depth([queue_name("text")], [0]) == 5
    assert next(names) == "/8.txt"  # no more was looked at than could be sent or held back


def test_a_full_queue_holds_up_its_own_kind_alone(board: JobBoard) -> None:
    job_id = board.create(IngestRequest(["/data"]))
    sent: Sent = []

    def send(*message: Any) -> None:
        sent.append(message)
        cost = message[2].cost
        if cost == "video":  # nobody takes films; the texts are taken as they come
            board.link.redis.lpush(queue_name(cost), "message")

    films = [f"/{n}.mp4" for n in range(4)]
    texts = [f"/{n}.txt" for n in range(9)]
    room = False

    def stopped() -> bool:
        nonlocal room
        if not room and len(sent) == 2 + len(texts):
            room = True
            board.link.redis.delete(queue_name("video"))
        return False

    plan(board, job_id, films + texts, send, shard_files=1, queue_shards=2, stopped=stopped)
    paths = [shard.paths[0] for _, _, shard in sent]
    assert paths == [*films[:2], *texts, *films[2:]]
    assert board.status(job_id).n_files == 13
