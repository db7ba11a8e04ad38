"""A job board on a real Valkey."""

from collections.abc import Iterator

import pytest

from tests.support.valkey import valkey_server
from workers.jobs.board import JobBoard


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Where a server of this module is."""
    with valkey_server() as server:
        yield f"redis://{server.host}:{server.port}/0"


@pytest.fixture
def board(url: str) -> Iterator[JobBoard]:
    """An empty board whose leases end by `planned.later` only."""
    board = JobBoard(url, lease_s=60, patience_s=0.5)
    board.link.redis.flushall()
    yield board
    board.link.redis.close()
