"""Requests that cost the server more than their sender: other clients notice nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from random import Random
from threading import current_thread
from time import perf_counter, process_time

import httpx
import pytest

from search.api.requests.bodies import Event, FormParser
from search.api.services import Services
from search.query.query_encoder import QueryEncoder
from tests.integration.api.wire import connect, hang_up, request
from tests.support.media import write_film
from tests.support.waiting import wait_for

JSON = {"Content-Type": "application/json"}
WORDS = ("harbour", "lantern", "orchard", "glacier", "violin", "compass", "meadow", "engine")
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}
MOST_CPU_S = 2.0
"""For a request that is refused, its client in the same process included: other clients wait no
longer than this, and the processor's time is the same on a busy machine."""


def form(n_parts: int, name: str) -> bytes:
    """Files of one byte, all as parts with this name; ``{n}`` in it is a number."""
    head = 'Content-Disposition: form-data; name="{}"; filename="a"\r\n\r\nx\r\n'
    parts = [f"--b\r\n{head.format(name.format(n=n))}" for n in range(n_parts)]
    return "".join([*parts, "--b--\r\n"]).encode()


@pytest.mark.parametrize("path", ["/v1/search", "/v1/embeddings"])
@pytest.mark.parametrize("name", ["f", "f{n}"])
def test_a_form_of_many_parts_is_refused_at_once(
    client: httpx.Client, path: str, name: str
) -> None:
    body = form(16_000, name)
    began_s = process_time()
    answer = client.post(path, content=body, headers=BOUNDARY)
    assert answer.status_code == 413
    assert "parts" in answer.json()["error"]["message"]
    assert process_time() - began_s < MOST_CPU_S


def test_no_form_is_parsed_on_the_event_loop(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    add = FormParser.add

    def noted(parser: FormParser, piece: bytes) -> list[Event]:
        threads.add(current_thread().name)
        return add(parser, piece)

    monkeypatch.setattr(FormParser, "add", noted)
    for path in ("/v1/search", "/v1/embeddings", "/v1/assets"):
        client.post(path, content=form(3, "f"), headers=BOUNDARY)
    assert len(threads) >= 2
    assert "server" not in threads


MANY = {"lists": "[1],", "strings": '"a",', "numbers": "1,", "deep": "[", "objects": '{"a":1},'}


@pytest.mark.parametrize("path", ["/v1/search", "/v1/embeddings", "/v2/embed", "/v1/rerank"])
@pytest.mark.parametrize("value", MANY.values(), ids=MANY)
def test_a_body_of_many_values_is_refused_before_they_are_made(
    client: httpx.Client, path: str, value: str
) -> None:
    values = value * (20_000_000 // len(value))
    body = f'{{"query": "a", "filter": {{"and": [{values}1]}}}}'.encode()
    began_s = process_time()
    assert client.post(path, content=body, headers=JSON).status_code == 413
    assert process_time() - began_s < MOST_CPU_S


def test_a_field_of_many_values_is_refused_before_they_are_made(client: httpx.Client) -> None:
    fields = {"text": "a", "filter": f'{{"and": [{"[1]," * 5_000_000}1]}}'}
    began_s = process_time()
    answer = client.post("/v1/search", data=fields, files=[("file", ("a.txt", b"a"))])
    assert answer.status_code == 413
    assert "values" in answer.json()["error"]["message"]
    assert process_time() - began_s < MOST_CPU_S


def test_a_body_that_is_parsed_on_the_event_loop_is_small(client: httpx.Client) -> None:
    body = f'{{"sources": [{"[]," * 700_000}1]}}'.encode()
    assert client.post("/v1/jobs", content=body, headers=JSON).status_code == 413


def test_files_of_one_name_are_all_there(client: httpx.Client) -> None:
    """A part may also be called what another would be numbered."""
    asked = json.dumps({"input": [{"file": name} for name in ("f", "f#2", "f#3")]})
    files = [(name, ("a.txt", text)) for name, text in (("f#2", b"a"), ("f", b"b"), ("f", b"c"))]
    answer = client.post("/v1/embeddings", data={"request": asked}, files=files)
    assert answer.status_code == 200
    assert len({tuple(one["embedding"]) for one in answer.json()["data"]}) == 3


def long_texts(n_texts: int, seed: int) -> list[str]:
    """Texts of words that no two share: none is known before. Eight fill half a budget."""
    random = Random(seed)
    words = [f"{random.choice(WORDS)}{random.randrange(10**6)}" for _ in range(20_000)]
    return [" ".join(words[n * 2000 :])[:5_000] for n in range(n_texts)]


TOO_MANY_TOKENS = {
    "/v1/search": {"query": [{"text": f"{n} " + "storm " * 3000} for n in range(32)]},
    "/v1/embeddings": {"input": [f"{n} " + "storm " * 1300 for n in range(2000)]},
    "/v2/embed": {"texts": ["Möwe " * 800] * 2000, "input_type": "search_query"},
}


@pytest.mark.parametrize("path", TOO_MANY_TOKENS)
def test_more_tokens_than_a_request_may_have_are_refused_before_any_is_encoded(
    client: httpx.Client, path: str
) -> None:
    began_s = process_time()
    answer = client.post(path, json=TOO_MANY_TOKENS[path])
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert error["type"] == "TooCostlyError"
    assert "tokens" in error["message"]
    assert process_time() - began_s < MOST_CPU_S


def test_spaces_cost_something_too(client: httpx.Client) -> None:
    padded = ["a" + " " * 65_000 for _ in range(700)]
    began_s = process_time()
    assert client.post("/v1/embeddings", json={"input": padded}).status_code == 413
    assert process_time() - began_s < MOST_CPU_S


def test_a_wrong_cursor_is_refused_before_anything_is_encoded(
    parts: Services, client: httpx.Client
) -> None:
    assert isinstance(parts.encoder, QueryEncoder)
    n_looked_up = parts.encoder.cache.misses
    query = [{"text": f"{n} is new here"} for n in range(8)]
    answer = client.post("/v1/search", json={"query": query, "cursor": "x" * 100_000})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "cursor"
    assert parts.encoder.cache.misses == n_looked_up


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/search", "/v1/embeddings"])
def test_nothing_goes_on_for_a_client_that_has_left(
    parts: Services, client: httpx.Client, path: str
) -> None:
    name = {"/v1/search": "query", "/v1/embeddings": "input"}[path]

    def body(texts: list[str]) -> bytes:
        return json.dumps({name: [{"text": text} for text in texts]}).encode()

    client.post(path, content=body(["warm"]), headers=JSON).raise_for_status()
    began_s = process_time()
    client.post(path, content=body(long_texts(1, seed=len(path))), headers=JSON).raise_for_status()
    one_s = process_time() - began_s
    sent = body(long_texts(8, seed=1 + len(path)))
    head = request("POST", path, {**JSON, "Content-Length": str(len(sent))})
    with connect(client, head + sent) as connection:
        wait_for(lambda: parts.workbench.taken() == 1)
        hang_up(connection)
    began_s = process_time()
    wait_for(lambda: parts.workbench.taken() == 0)
    assert process_time() - began_s < 4 * one_s  # half of what all eight take


@pytest.mark.slow
def test_no_film_is_decoded_for_a_client_that_has_left(
    parts: Services, client: httpx.Client, tmp_path: Path
) -> None:
    film = base64.b64encode(write_film(tmp_path / "a.mkv", seconds=25).read_bytes()).decode()
    sent = json.dumps({"query": [{"video": film}] * 8}).encode()
    head = request("POST", "/v1/search", {**JSON, "Content-Length": str(len(sent))})
    began_s = perf_counter()
    client.post("/v1/search", json={"query": [{"video": film}]}).raise_for_status()
    one_s = perf_counter() - began_s
    with connect(client, head + sent) as connection:
        wait_for(lambda: parts.workbench.taken() == 1)
        hang_up(connection)
    began_s = perf_counter()
    wait_for(lambda: parts.workbench.taken() == 0)
    assert perf_counter() - began_s < max(2.0, 4 * one_s)
