"""Keys, scopes, rates and sessions, without a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from encoder.errors import InputError
from search.api.access.auth import Access, Bucket, access_for
from search.api.access.keys import KeyRing, Sessions
from search.api.config import ApiConfig
from search.api.errors import PATHS, ForbiddenError, UnauthorizedError
from search.filters import parse_filter


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.json")


def test_only_a_hash_is_kept(ring: KeyRing) -> None:
    key, token = ring.create("page", ["read"], 60)
    assert token.split("_", 2)[2] not in ring.path.read_text()
    assert ring.path.stat().st_mode & 0o077 == 0
    assert KeyRing(ring.path).find(token) == key


def test_a_revoked_key_opens_nothing_also_in_a_running_server(ring: KeyRing) -> None:
    key, token = ring.create("page", ["read"], 60)
    running = KeyRing(ring.path)
    assert running.find(token)
    ring.revoke(key.key_id)
    assert running.find(token) is None
    assert running.all()[0].revoked


def test_wrong_tokens_open_nothing(ring: KeyRing) -> None:
    _, token = ring.create("page", ["read"], 60)
    for wrong in ("", "am", "am_", token[:-1], token + "x", token.replace("am_", "xx_"), "é" * 9):
        assert ring.find(wrong) is None


def test_unknown_scopes_and_keys_are_refused(ring: KeyRing) -> None:
    with pytest.raises(InputError, match="read, write, admin"):
        ring.create("page", ["root"], 60)
    with pytest.raises(InputError, match="keys list"):
        ring.revoke("nobody")


def test_a_filter_is_kept_changed_and_taken_away(ring: KeyRing) -> None:
    condition = {"field": "tags", "contains": "sea"}
    key, _ = ring.create("page", ["read"], 60, condition)
    running = KeyRing(ring.path)
    assert running.all()[0].within == parse_filter(condition)
    for wrong in ({"field": "nothing", "eq": 1}, {}, {"and": []}):
        with pytest.raises(InputError):
            ring.restrict(key.key_id, wrong)
        with pytest.raises(InputError):
            ring.create("other", ["read"], 60, wrong)
    assert [known.filter for known in running.all()] == [condition]
    assert ring.restrict(key.key_id, None).within is None
    assert running.all()[0].within is None


def test_where_no_key_is_needed_a_wrong_one_is_refused_once_there_are_keys(ring: KeyRing) -> None:
    access = Access(ring, required=False)
    for any_key in (None, "", "sk-any", "am_x_y"):
        assert access.check(any_key, "write").scopes == {"read", "write"}
        with pytest.raises(ForbiddenError):
            access.check(any_key, "admin")
    revoked, token = ring.create("gone", ["admin"], 600)
    ring.revoke(revoked.key_id)
    for wrong in ("sk-any", "am_x_y", token):
        for scope in ("read", "write", "admin"):
            with pytest.raises(UnauthorizedError):
                access.check(wrong, scope)
    for none in (None, ""):
        assert access.check(none, "write").scopes == {"read", "write"}
    _, admin = ring.create("root", ["admin"], 600)
    assert access.check(admin, "admin").scopes == {"admin"}
    _, reader = ring.create("reader", ["read"], 600)
    with pytest.raises(ForbiddenError):
        access.check(reader, "write")


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    bucket = Bucket(60, clock=lambda: now[0])
    assert [bucket.take() for _ in range(11)] == [0.0] * 10 + [1.0]
    now[0] += 1.5
    assert bucket.take() == 0.0
    now[0] += 3600
    assert [bucket.take() for _ in range(11)] == [0.0] * 10 + [1.0]


def test_an_open_address_needs_a_key_before_it_is_served(ring: KeyRing) -> None:
    assert not access_for(ApiConfig(), ring).required
    assert PATHS in access_for(ApiConfig(), ring).check(None, "read").scopes
    proxied = ApiConfig(allowed_hosts=("search.example.org",))
    for others in (proxied, ApiConfig(host="0.0.0.0", allow_no_key=True)):
        assert PATHS not in access_for(others, ring).check(None, "read").scopes
    assert not access_for(ApiConfig(host="0.0.0.0", allow_no_key=True), ring).required
    with pytest.raises(InputError, match="keys create"):
        access_for(ApiConfig(host="0.0.0.0"), ring)
    key, _ = ring.create("page", ["read"], 60)
    assert access_for(ApiConfig(host="0.0.0.0"), ring).required
    assert access_for(ApiConfig(require_key=True), ring).required
    ring.revoke(key.key_id)
    with pytest.raises(InputError):
        access_for(ApiConfig(host="0.0.0.0"), ring)


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
