"""The page's files over HTTP: linked, compressed, and asked for once."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from search.api.responses.page import page

FIRST = ("", "css/first.css", "js/early.js", "js/main.js")


@pytest.fixture
def client() -> TestClient:
    app = Starlette()
    app.router.default = page()
    return TestClient(app)


def test_the_document_names_all_that_is_needed_at_once(client: TestClient) -> None:
    document = client.get("/").text
    named = re.findall(r'<(?:link rel="stylesheet" href|script[^>]* src)="([^"]+)"', document)
    assert sorted(["", *named]) == sorted(FIRST)
    for path in FIRST[1:]:
        assert not re.search(r"@import|^import ", client.get(path).text, re.MULTILINE)


@pytest.mark.parametrize("path", FIRST)
def test_files_come_compressed_to_who_takes_them_so(client: TestClient, path: str) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    small = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == plain.content
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"])
    assert small.headers["vary"] == "Accept-Encoding"


def test_what_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/js/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/js/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = client.get("/js/main.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("path", ["/js/none.js", "/js", "/../app.py", "/js/../../app.py"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_files_are_only_read(client: TestClient) -> None:
    assert client.post("/js/main.js").status_code == 405
    assert client.head("/js/main.js").headers["content-type"].startswith("text/javascript")
