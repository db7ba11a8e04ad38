"""Sessions: opaque, short, and known to all who share their file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from search.api.access.keys import Sessions


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the sessions are kept."""
    return tmp_path / "data" / "sessions.json"


def test_a_token_opens_what_its_key_opens(path: Path) -> None:
    sessions = Sessions(path, 60)
    token, other = sessions.open("k1"), sessions.open("k2")
    assert (sessions.key_id(token), sessions.key_id(other)) == ("k1", "k2")
    assert [sessions.key_id(wrong) for wrong in ("", token[:-1], "é", "k1")] == [None] * 4


def test_the_file_holds_no_token_and_is_for_its_owner(path: Path) -> None:
    token = Sessions(path, 60).open("k1")
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_other_processes_see_each_change(path: Path) -> None:
    mine, other = Sessions(path, 60), Sessions(path, 60)
    assert other.key_id("unknown") is None
    token = mine.open("k1")
    assert other.key_id(token) == "k1"
    other.close(token)
    assert mine.key_id(token) is None
    other.close(token)


def test_a_session_ends_with_its_time(path: Path) -> None:
    clock = Clock()
    sessions = Sessions(path, 60, clock)
    token = sessions.open("k1")
    clock.now_s += 59
    assert sessions.key_id(token) == "k1"
    clock.now_s += 1
    assert sessions.key_id(token) is None
    sessions.open("k2")
    assert path.read_text().count("digest") == 1


def test_a_key_has_a_hundred_sessions_at_most(path: Path) -> None:
    sessions = Sessions(path, 60)
    other = sessions.open("k2")
    tokens = [sessions.open("k1") for _ in range(102)]
    opened = [sessions.key_id(token) for token in tokens]
    assert opened == [None] * 2 + ["k1"] * 100
    assert sessions.key_id(other) == "k2"


def test_none_is_lost_when_many_are_opened_at_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda n: Sessions(path, 60).open(f"k{n}"), range(40)))
    sessions = Sessions(path, 60)
    assert [sessions.key_id(token) for token in tokens] == [f"k{n}" for n in range(40)]
