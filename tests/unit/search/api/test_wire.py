"""When a connection is too slow, which address it counts for, and how bodies are parsed."""

from __future__ import annotations

import json
import resource
import socket

import pytest
from pydantic import ValidationError

from encoder.system.stopping import stopped_by
from search.api.config import ApiConfig
from search.api.connections import Pace, PaceLimits, Phase, allow_open_files
from search.api.errors import TooLargeError
from search.api.requests.bodies import SentBody, _large_body
from search.api.requests.budgets import check_values
from search.api.schemas import SearchRequest
from search.api.server import listening_socket
from search.errors import CancelledError

LIMITS = PaceLimits(head_s=10, body_s=20, write_s=60, bytes_per_s=500)


@pytest.mark.parametrize(
    ("phase", "patience_s"),
    [(Phase.HEAD, 10), (Phase.REST, 20), (Phase.BODY, 20), (Phase.WRITE, 60)],
)
def test_what_does_not_move_is_too_slow_after_its_time(phase: Phase, patience_s: int) -> None:
    pace = Pace(LIMITS)
    late = [pace.is_too_slow(phase, 1, 0, float(now_s)) for now_s in range(patience_s + 1)]
    assert late == [False] * patience_s + [True]


@pytest.mark.parametrize("phase", [Phase.WORK, Phase.IDLE])
def test_who_owes_nothing_is_never_too_slow(phase: Phase) -> None:
    pace = Pace(LIMITS)
    assert not any(pace.is_too_slow(phase, 1, 0, float(now_s)) for now_s in range(10_000))


@pytest.mark.parametrize(("bytes_per_s", "slow"), [(500, False), (499, True), (0.1, True)])
@pytest.mark.parametrize("phase", [Phase.BODY, Phase.WRITE])
def test_a_rate_is_what_counts_for_what_is_long(
    phase: Phase, bytes_per_s: float, slow: bool
) -> None:
    """An upload of hours is fine, a byte every ten seconds is not."""
    pace = Pace(LIMITS)
    looks = [pace.is_too_slow(phase, 1, int(bytes_per_s * s), float(s)) for s in range(40_000)]
    assert any(looks) is slow


def test_a_pause_in_a_fast_body_is_no_matter() -> None:
    pace = Pace(LIMITS)
    moved = [0, 10**6, 10**6, 2 * 10**6]
    looks = [pace.is_too_slow(Phase.BODY, 1, n, 15.0 * k) for k, n in enumerate(moved)]
    assert not any(looks)


def test_another_request_has_time_of_its_own() -> None:
    pace = Pace(LIMITS)
    looks = [pace.is_too_slow(Phase.HEAD, now_s // 5, 0, float(now_s)) for now_s in range(1000)]
    assert not any(looks)


def test_the_limit_of_open_files_is_raised_to_what_connections_need() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
        assert allow_open_files(1000) == 1000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 2000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_there_are_no_more_connections_than_files(caplog: pytest.LogCaptureFixture) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert hard // 4 < allow_open_files(hard) < hard // 2
        assert str(hard) in caplog.text
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_proxy_is_an_address_or_a_network() -> None:
    assert ApiConfig.model_validate({"proxies": ["10.0.0.7", "fd00::/8"]}).proxies
    with pytest.raises(ValidationError, match="proxies"):
        ApiConfig.model_validate({"proxies": ["the proxy"]})


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head() -> None:
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def left() -> None:
    raise CancelledError("gone")


def test_who_has_left_waits_for_no_turn_and_takes_none() -> None:
    body = SentBody([b" " * 30_000, b'{"query": "a"}'], "application/json", 1)
    with _large_body, stopped_by(left), pytest.raises(CancelledError):
        body.parsed(SearchRequest)
    with stopped_by(left), pytest.raises(CancelledError):
        body.parsed(SearchRequest)
    assert body.parsed(SearchRequest).query[0].text == "a"


BODY = json.dumps([{"a\\": ['"', "\\\\", '\\"[,', [1, 2], {}], "b": "[{,"}] * 3).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("most", "most_containers"), [(20, 13), (19, 13), (20, 12)])
def test_values_are_those_of_the_whole(size: int, most: int, most_containers: int) -> None:
    pieces = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    if (most, most_containers) == (20, 13):
        check_values(pieces, most, most_containers)
        return
    with pytest.raises(TooLargeError, match="more than"):
        check_values(pieces, most, most_containers)
