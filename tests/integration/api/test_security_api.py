"""Who may ask what, and what no answer reveals."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from search.api.access.auth import COOKIE, Access
from search.api.access.keys import KeyRing
from search.api.config import ApiConfig
from search.api.services import Services
from search.errors import StoreUnavailableError
from tests.integration.api.conftest import served
from tests.integration.api.wire import bearer, connect, heard

SEARCH = {"query": "rain"}


@pytest.fixture(scope="module")
def guarded(parts: Services, ring: KeyRing) -> Iterator[httpx.Client]:
    """The same server, asking for keys, with small limits."""
    config = ApiConfig(max_body_bytes=10_000, max_upload_bytes=50_000, max_upload_files=3)
    with served(replace(parts, config=config, access=Access(ring, required=True))) as client:
        yield client


def test_keys_and_scopes(guarded: httpx.Client, ring: KeyRing, folder: Path) -> None:
    refused = guarded.post("/v1/search", json=SEARCH)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    reader = bearer(ring.create("reader", ["read"], 6000)[1])
    found = guarded.post("/v1/search", json=SEARCH, headers=reader)
    assert found.status_code == 200
    assert str(folder) not in found.text
    asset_id = found.json()["hits"][0]["asset_id"]
    assert guarded.delete(f"/v1/assets/{asset_id}", headers=reader).status_code == 403
    assert guarded.post("/v1/assets", headers=reader).status_code == 403
    admin = bearer(ring.create("admin", ["admin"], 6000)[1])
    hits = guarded.post("/v1/search", json=SEARCH, headers=admin).json()["hits"]
    assert all(hit["uri"].startswith(str(folder)) for hit in hits)
    for path in ("/healthz", "/readyz", "/"):
        assert guarded.get(path).status_code == 200
    for path in ("/v1/info", "/v1/latency", "/metrics", "/v1/jobs", "/v1/assets"):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers=reader).status_code == 200


def opened(
    client: httpx.Client, token: str, sent: dict[str, str] | None = None
) -> tuple[str, dict[str, str]]:
    """The cookie of a new session, as it was set and as it is sent."""
    answer = client.post("/v1/session", headers={**bearer(token), **(sent or {})})
    assert answer.status_code == 204
    client.cookies.clear()
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith(f"{COOKIE}=")]
    return cookie, {"Cookie": cookie.split(";")[0]}


def test_a_cookie_opens_what_is_looked_at_and_nothing_else(
    guarded: httpx.Client, ring: KeyRing
) -> None:
    writer = ring.create("writer", ["read", "write"], 6000)[1]
    cookie, sent = opened(guarded, writer)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert guarded.get("/v1/info", headers=sent).status_code == 200
    assert guarded.head("/v1/assets/none/content", headers=sent).status_code == 404
    assert guarded.post("/v1/search", json=SEARCH, headers=sent).status_code == 401
    assert guarded.delete("/v1/assets/abc", headers=sent).status_code == 401


def test_a_cookie_reveals_nothing_of_the_key(guarded: httpx.Client, ring: KeyRing) -> None:
    token = ring.create("reader", ["read"], 6000)[1]
    first, second = (opened(guarded, token)[0] for _ in range(2))
    assert first != second
    _, key_id, secret = token.split("_", 2)  # the secret can contain more underscores
    assert key_id not in first
    assert secret not in first
    raw = {"Cookie": f"{COOKIE}={token}"}
    assert guarded.get("/v1/info", headers=raw).status_code == 401


def test_a_session_ends_when_it_is_closed(guarded: httpx.Client, ring: KeyRing) -> None:
    token = ring.create("reader", ["read"], 6000)[1]
    (_, sent), (_, other) = opened(guarded, token), opened(guarded, token)
    assert guarded.delete("/v1/session", headers=sent).status_code == 204
    assert guarded.get("/v1/info", headers=sent).status_code == 401
    assert guarded.get("/v1/info", headers=other).status_code == 200


def test_a_new_session_takes_the_place_of_the_old_one(guarded: httpx.Client, ring: KeyRing) -> None:
    token = ring.create("reader", ["read"], 6000)[1]
    _, old = opened(guarded, token)
    _, new = opened(guarded, token, old)
    assert guarded.get("/v1/info", headers=old).status_code == 401
    assert guarded.get("/v1/info", headers=new).status_code == 200


def test_the_sessions_of_a_revoked_key_end(guarded: httpx.Client, ring: KeyRing) -> None:
    key, token = ring.create("reader", ["read"], 6000)
    _, sent = opened(guarded, token)
    ring.revoke(key.key_id)
    assert guarded.get("/v1/info", headers=sent).status_code == 401


@pytest.mark.parametrize(("proxies", "is_secure"), [(["127.0.0.1"], True), ([], False)])
def test_a_cookie_is_secure_behind_a_proxy_that_says_https(
    parts: Services, ring: KeyRing, proxies: list[str], is_secure: bool
) -> None:
    """And only if the proxy is one of those configured."""
    config = ApiConfig.model_validate({"proxies": proxies})
    access = Access(ring, required=True)
    with served(replace(parts, config=config, access=access)) as client:
        token = ring.create("reader", ["read"], 6000)[1]
        cookie, _ = opened(client, token, {"X-Forwarded-Proto": "https"})
    assert ("; Secure" in cookie) is is_secure


def test_a_cookie_from_elsewhere_locks_nobody_out(client: httpx.Client) -> None:
    """An earlier server on the same port may have left one."""
    assert client.get("/v1/info", headers={"Cookie": f"{COOKIE}=unknown"}).status_code == 200


def test_a_key_that_asks_too_often_learns_when_to_come_back(
    guarded: httpx.Client, ring: KeyRing
) -> None:
    hasty = bearer(ring.create("hasty", ["read"], 6)[1])
    answers = [guarded.get("/v1/info", headers=hasty) for _ in range(3)]
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10


def test_bodies_have_limits(guarded: httpx.Client, ring: KeyRing, parts: Services) -> None:
    writer = bearer(ring.create("writer", ["read", "write"], 6000)[1])
    big = {"query": "x", "cursor": "y" * 20_000}
    assert guarded.post("/v1/search", json=big, headers=writer).status_code == 413

    def unannounced() -> Iterator[bytes]:
        yield from [b"x" * 4000] * 5

    kind = {**writer, "Content-Type": "application/json"}
    assert guarded.post("/v1/search", content=unannounced(), headers=kind).status_code == 413
    large = [("file", ("a.bin", b"x" * 60_000))]
    assert guarded.post("/v1/assets", files=large, headers=writer).status_code == 413
    many = [("file", (f"{n}.txt", b"x")) for n in range(4)]
    assert guarded.post("/v1/assets", files=many, headers=writer).status_code == 413
    assert list((parts.uploads.folder / "incoming").iterdir()) == []


def test_strange_hosts_and_pages_are_refused(client: httpx.Client) -> None:
    host = client.base_url.netloc.decode()
    assert client.get("/v1/info", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/v1/info", headers={"Host": "evil.example:8080"}).status_code == 403
    assert client.get("/v1/info", headers={"Host": "localhost"}).status_code == 200
    for origin in ("https://evil.example", "null"):
        headers = {"Origin": origin}
        assert client.post("/v1/search", json=SEARCH, headers=headers).status_code == 403
    own = {"Origin": f"http://{host}"}
    answer = client.post("/v1/search", json=SEARCH, headers=own)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    crossing = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/v1/search", json=SEARCH, headers=crossing).status_code == 403


def test_every_answer_has_safe_headers_and_an_id(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/v1/assets/none", "/nowhere"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert len(headers["x-request-id"]) == 16
    mine = client.get("/healthz", headers={"X-Request-ID": "my-id.7"}).headers
    assert mine["x-request-id"] == "my-id.7"
    other = client.get("/healthz", headers={"X-Request-ID": "a b"}).headers
    assert other["x-request-id"] != "a b"


def test_a_failure_inside_reveals_nothing(
    parts: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/srv/secret")

    with served(parts) as client:
        monkeypatch.setattr(parts.engine, "search", fail)
        answer = client.post("/v1/search", json=SEARCH)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["type"] == "InternalError"
    assert answer.headers["x-request-id"] in caplog.text
    assert "/srv/secret" in caplog.text


def test_a_store_that_is_away_is_named_with_its_address_to_the_operator_alone(
    parts: Services, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailableError("The store http://10.0.0.1 does not answer.", "Start it.")

    monkeypatch.setattr(parts.engine, "search", fail)
    told = []
    with served(replace(parts, access=Access(ring, required=True))) as client:
        for scopes in (["read"], ["read", "admin"]):
            head = bearer(ring.create("someone", scopes, 6000)[1])
            answer = client.post("/v1/search", json=SEARCH, headers=head)
            assert answer.status_code == 503
            told.append(answer.json()["error"])
    assert told[0]["message"] == "The vector store does not answer."
    assert "10.0.0.1" in told[1]["message"]
    assert told[1]["remedy"] == "Start it."


def test_readiness_says_which_part_is_dead(
    parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> None:
        raise ConnectionError("http://user:password@10.0.0.1")

    with served(parts) as client:
        assert client.get("/readyz").json()["status"] == "ready"
        monkeypatch.setattr(parts.jobs, "ping", dead)
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["jobs"] == {"ok": False, "error": "ConnectionError"}
        assert answer.json()["checks"]["store"]["ok"]
        monkeypatch.setattr(parts.store, "lexical", dead)  # it answers, and cannot be searched
        assert client.get("/readyz").json()["checks"]["store"]["ok"] is False
    assert "password" not in answer.text


def test_the_page_of_a_site_that_was_named_may_ask(parts: Services) -> None:
    config = ApiConfig(cors_origins=("https://friend.example",))
    with served(replace(parts, config=config)) as client:
        headers = {"Origin": "https://friend.example"}
        answer = client.post("/v1/search", content=json.dumps(SEARCH), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"


def test_a_request_names_one_host(client: httpx.Client) -> None:
    """A proxy may have checked one of two, and the server the other."""
    head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for more, status in (("", 200), ("Host: example.org\r\n", 400), ("Host: localhost\r\n", 400)):
        with connect(client, f"{head}{more}\r\n".encode()) as connection:
            assert heard(connection).startswith(b"HTTP/1.1 %d " % status)
