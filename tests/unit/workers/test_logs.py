"""One line a record, with what was under way and without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from encoder.errors import InputError
from encoder.types import TEXT
from ingest.types import Asset, Segment
from workers.jobs.board import JobBoard
from workers.observe.logs import about, set_up
from workers.pipeline.streams import decode_side_by_side

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
