"""A key with a filter: every route answers as a server would that holds nothing else.

Two servers are asked the same, on all routes that the application has: one with a family's files,
one with Anna's alone. Answers to Anna's key have to be equal, and what is not hers unchanged.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any
from zipfile import ZipFile

import httpx
import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from pymilvus import MilvusClient

from encoder import MultiModalEncoder
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.app import create_app
from search.api.errors import ForbiddenError
from search.api.server import listening_socket
from search.api.services import Services
from search.mcp.server import mcp_server
from search.types import AssetRow, IngestRequest
from tests.integration.api.conftest import composed, served
from tests.support.milvus_server import MilvusServer
from workers.cli.mcp import _here
from workers.jobs.local import LocalJobs
from workers.pipeline.ingest_job import IngestJob

BREAD = "Knead the dough, then bake the loaf in a hot oven."
FOLDER = {"field": "path", "prefix": "HOME/anna/"}
TAG = {"field": "tags", "contains": "anna"}
SETUPS = {
    "folder, path": ("store", FOLDER),
    "lite, tag": ("store.db", TAG),
    "server, path": ("server", FOLDER),
}
ON = ["folder, path", "lite, tag", pytest.param("server, path", marks=pytest.mark.milvus)]
VARYING = {"latency_ms", "created", "seconds", "request_id", "id", "meta"}
"""Names of times and of numbers of requests."""


@dataclass
class Side:
    """A server with the keys of its owner and of Anna."""

    parts: Services
    ring: KeyRing
    client: httpx.Client
    owner: str
    anna: str
    anna_id: str
    n_standing: int
    """Warnings in each answer: an old Milvus finds no words."""
    store: str
    """Its address, which that warning names."""

    def ask(self, token: str, method: str, url: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return self.client.request(method, url, headers=headers, **more)

    def upload(self, token: str, name: str, data: bytes, *tags: str) -> httpx.Response:
        sent = [("file", (name, data)), *(("tags", (None, tag)) for tag in tags)]
        return self.ask(token, "POST", "/v1/assets?wait=true", files=sent)


def fill(home: Path) -> None:
    """Files of Anna, and more of Bob, who has one of hers, too."""
    for name in ("anna", "bob"):
        (home / name).mkdir()
    (home / "anna" / "bread.txt").write_text(BREAD)
    (home / "anna" / "boat.txt").write_text("A boat on the lake, with dvorce papers aboard.")
    Image.new("RGB", (90, 60), "teal").save(home / "anna" / "sky.jpg")
    (home / "bob" / "zephyr.txt").write_text(
        "The zephyr of the oven: bake it in June 2019 in Vienna. A loaf, a boat, a divorce."
    )
    for n in range(30):
        (home / "bob" / f"bread {n}.txt").write_text(f"Bake the loaf with zephyr number {n}.")
    Image.new("RGB", (91, 60), "maroon").save(home / "bob" / "red.jpg")


def database_of(server: MilvusServer, owners: Sequence[str]) -> str:
    """A new database on a server."""
    name = "keys_" + "_".join(owners)
    with closing(MilvusClient(server.uri, dedicated=True)) as client:
        client.create_database(name)
    return f"{server.uri}/{name}"


@contextmanager
def opened(
    where: Path,
    store: str,
    condition: Any,
    encoder: MultiModalEncoder,
    home: Path,
    *owners: str,
) -> Iterator[Side]:
    within = json.loads(json.dumps(condition).replace("HOME", str(home)))
    with composed(where / "data", encoder, STORE=store) as (held, parts):
        for owner in owners:
            job = IngestJob(encoder, parts.store, held.ingest_config)
            paths = [str(path) for path in sorted((home / owner).iterdir())]
            assert not job.run(paths, labels={"tags": [owner]}).failures
        ring = KeyRing(where / "keys.json")
        _, owner_token = ring.create("owner", ["admin"], 1_000_000)
        anna, token = ring.create("anna", ["read", "write"], 1_000_000, within)
        parts = replace(parts, access=Access(ring, required=True))
        with served(parts) as client:
            tokens = owner_token, token, anna.key_id
            yield Side(parts, ring, client, *tokens, int(store.startswith("http")), store)


@pytest.fixture(scope="module", params=ON)
def sides(
    request: pytest.FixtureRequest,
    encoder: MultiModalEncoder,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Side, Side]]:
    """The server with everything, and the one with what Anna may see."""
    home, (name, condition) = tmp_path_factory.mktemp("home"), SETUPS[request.param]
    fill(home)
    sides = []
    with ExitStack() as stack:
        for owners in (("anna", "bob"), ("anna",)):
            where = tmp_path_factory.mktemp("where")
            store = str(where / name)
            if name == "server":
                store = database_of(request.getfixturevalue("milvus_server"), owners)
            side = opened(where, store, condition, encoder, home, *owners)
            sides.append(stack.enter_context(side))
        whole, alone = sides
        if condition == FOLDER:  # the file's content is Anna's, its place is not
            copy = shutil.copy2(home / "anna" / "bread.txt", home / "bob" / "secret copy.txt")
            job = IngestJob(encoder, whole.parts.store)
            job.run([str(copy)])
        yield whole, alone


def rows(side: Side) -> dict[str, AssetRow]:
    return {row.asset_id: row for row in side.parts.store.scan()}


def plain(value: Any) -> Any:
    """JSON without what differs from one request to the next."""
    match value:
        case dict():
            return {name: plain(inner) for name, inner in value.items() if name not in VARYING}
        case list():
            return list(map(plain, value))
        case float():
            return round(value, 4)
        case _:
            return value


def shown(answer: httpx.Response, store: str) -> tuple[object, ...]:
    """What an answer tells, whatever the store's address is."""
    headers = {name: answer.headers.get(name) for name in ("etag", "content-type", "location")}
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    text = answer.text.replace(store, "STORE") if is_json else ""
    body = plain(json.loads(text)) if text else answer.content
    return answer.status_code, headers, sorted(answer.headers), body


def questions(outside: list[str], inside: list[str], cursor: str) -> list[dict[str, Any]]:
    """Bodies for all routes that take one."""
    texts = (
        "bake the loaf", "zephyr", "zephyr loaf boat", "divorce", "secret copy", "bread 7",
        "photos from june 2019", "boat in vienna", '"a boat"',
    )  # fmt: skip
    by_id = [[{"asset_id": x}] for x in (*outside, *inside, "0" * 32)]
    mixed = [{"text": "bread"}, {"asset_id": outside[0], "weight": -0.5}]
    asked = [*([{"text": text}] for text in texts), *by_id, mixed]
    options: list[dict[str, Any]] = [
        {"explain": True, "limit": 50},
        {"lexical": False, "diversity": 0.5},
        {"group_by": "segment", "quotas": {"text": 9, "image": 9}},
    ]
    first: dict[str, Any] = {"query": "bake the loaf"}
    return [
        *({"query": query, **more} for query, more in product(asked, options)),
        {**first, "cursor": cursor},
        {**first, "filter": {"field": "tags", "contains": "bob"}},
        {**first, "filter": {"not": {"field": "tags", "contains": "bob"}}, "sort": "-modified"},
        {"input": ["bake the loaf", "zephyr"], "model": ""},
        {"texts": ["zephyr"], "input_type": "search_query", "embedding_types": ["float"]},
        {"query": "a boat", "documents": ["zephyr"]},
        {"sources": ["s3://bucket/folder/"], "prune": True},
        {"add_tags": ["anna"], "remove_tags": ["bob"]},
    ]


def requests_for(
    side: Side, outside: list[str], inside: list[str], job_id: str, cursor: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, URL and options of what is asked, for each route of the application."""
    bodies = questions(outside, inside, cursor)
    searches = [
        "", "?limit=1", f"?cursor={outside[0]}", "?sort=newest", "?sort=added&stacks=true",
        "?sort=oldest&cursor=0_", "?size=480", "?size=100", "?folder=/",
        '?filter={"field":"tags","contains":"bob"}', '?filter={"field":"modality","ne":"x"}',
    ]  # fmt: skip
    endpoints = create_app(side.parts).state.endpoints  # those without a description, too
    asked = {(method, route.path_format) for route in endpoints for method in route.methods}
    described = side.client.get("/openapi.json").json()["paths"]
    assert asked >= {(m.upper(), path) for path, methods in described.items() for m in methods}
    for method, path in sorted(asked):
        reads = method in ("GET", "HEAD")
        ids = [*outside, "0" * 32, *(inside if reads else [])] if "{asset_id}" in path else [""]
        for asset_id in ids:
            url = path.format(asset_id=asset_id, job_id=job_id, model=side.parts.model)
            assert "{" not in url, f"say what to ask of {path}"
            if reads:
                yield from ((method, url + more, {}) for more in searches)
                yield method, url, {"headers": {"Range": "bytes=0-3"}}
                etags = {f'"{asset_id}"', f'W/"{asset_id}"', "*"}
                yield from ((method, url, {"headers": {"If-None-Match": tag}}) for tag in etags)
            else:
                yield from ((method, url, {"json": body}) for body in bodies)


def warnings_of(side: Side, query: dict[str, Any]) -> list[str]:
    answer = side.ask(side.anna, "POST", "/v1/search", json=query)
    answer.raise_for_status()
    warnings: list[str] = answer.json()["warnings"]
    return warnings


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_route_tells_of_what_lies_outside(sides: tuple[Side, Side]) -> None:
    whole, alone = sides
    uploaded = whole.upload(whole.owner, "memo.txt", b"The zephyr memo of Bob.").json()["job"]
    inside = sorted(row.asset_id for row in alone.parts.store.scan())
    outside = [*uploaded["asset_ids"], *sorted(rows(whole).keys() - {*inside})[:4]]
    first = {"query": "bake the loaf", "limit": 2}
    cursor = whole.ask(whole.owner, "POST", "/v1/search", json=first).json()["next_cursor"]
    assert len(inside) == 3
    assert cursor
    for asset_id in outside:  # what is cached of it is there
        assert whole.ask(whole.owner, "GET", f"/v1/assets/{asset_id}").status_code == 200
        whole.ask(whole.owner, "GET", f"/v1/assets/{asset_id}/thumbnail?size=480")
    for side in sides:  # names are read meanwhile
        while len(warnings_of(side, first)) > side.n_standing:
            sleep(0.5)
    before = rows(whole)
    told, n_found = [], 0
    for method, url, more in requests_for(whole, outside, inside, uploaded["id"], cursor):
        answers = [side.ask(side.anna, method, url, **more) for side in sides]
        n_found += answers[0].is_success
        if shown(answers[0], whole.store) != shown(answers[1], alone.store):
            told.append((method, url, more, *(answer.text[:3000] for answer in answers)))
    assert not told, told[0]
    assert n_found > 100
    assert rows(whole) == before
    assert whole.ask(whole.owner, "GET", f"/v1/jobs/{uploaded['id']}").json()["state"] == "done"
    hits = whole.ask(whole.anna, "POST", "/v1/search", json={"query": "bread"}).json()["hits"]
    assert {hit["asset_id"] for hit in hits} & {*inside}
    theirs = whole.ask(whole.owner, "POST", "/v1/search", json={"query": "zephyr"}).json()["hits"]
    assert {hit["asset_id"] for hit in theirs} - {*inside}


@contextmanager
def agents_at(parts: Services) -> Iterator[str]:
    """The URL of MCP over HTTP."""
    app = mcp_server(_here(parts)).streamable_http_app(stateless_http=True, host="127.0.0.1")
    listener = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        thread.join()


async def told_by_tools(url: str, side: Side, outside: list[str]) -> list[str]:
    """What each tool answers, by its name."""
    with_key = httpx2.AsyncClient(headers={"Authorization": f"Bearer {side.anna}"}, timeout=60)
    told = []
    async with with_key, Client(streamable_http_client(url, http_client=with_key)) as client:
        for tool in (await client.list_tools()).tools:
            ids: list[dict[str, Any]] = [
                {name: x} for name in ("asset_id", "like", "job_id") for x in outside
            ]
            for arguments in (*ids, {}, {"text": "zephyr loaf"}, {"text": "red", "limit": 50}):
                if arguments.keys() <= tool.input_schema["properties"].keys():
                    result = await client.call_tool(tool.name, arguments)
                    dumped = json.loads(result.model_dump_json().replace(side.store, "STORE"))
                    for content in dumped["content"]:
                        if content["type"] == "text" and content["text"].startswith("{"):
                            content["text"] = json.loads(content["text"])
                    told.append(repr((tool.name, arguments, _untimed(dumped))))
    return told


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untimed(inner) for name, inner in value.items() if name != "took_ms"}
    if isinstance(value, list):
        return list(map(_untimed, value))
    return round(value, 3) if isinstance(value, float) else value


@pytest.mark.slow
def test_agents_are_told_the_same(sides: tuple[Side, Side]) -> None:
    told = []
    for side in sides:
        with agents_at(side.parts) as url:
            told.append(asyncio.run(told_by_tools(url, side, sorted(_outside(sides)))))
    assert len(told[0]) > 10
    assert told[0] == told[1]


def _outside(sides: tuple[Side, Side]) -> set[str]:
    whole, _ = sides
    key = whole.ring.get(whole.anna_id)
    assert key is not None
    seen = {row.asset_id for row in whole.parts.narrowed(key).store.scan()}
    return set(sorted(rows(whole).keys() - seen)[:3])


def test_embeddings_of_others_are_not_in_its_cache(sides: tuple[Side, Side]) -> None:
    whole, _ = sides
    key = whole.ring.get(whole.anna_id)
    assert key is not None
    cache = whole.parts.narrowed(key).encoder.cache  # type: ignore[attr-defined]
    for token, n_hits in ((whole.owner, 0), (whole.anna, 0), (whole.anna, 1)):
        before = cache.hits
        answer = whole.ask(token, "POST", "/v1/search", json={"query": "never asked before"})
        assert answer.status_code == 200
        assert cache.hits - before == n_hits


@pytest.mark.slow
def test_nothing_is_written_outside(sides: tuple[Side, Side]) -> None:
    whole, _ = sides
    key = whole.ring.get(whole.anna_id)
    assert key is not None
    is_tag = key.filter == TAG
    before = rows(whole)
    texts = {
        row.asset_id: Path(row.locations[0]).read_bytes()
        for row in before.values()
        if row.locations[0].endswith(".txt")
    }
    theirs = next(x for x in texts if "bob" in (before[x].metadata.get("tags") or ()))  # type: ignore[operator]
    refused = [
        whole.upload(whole.anna, "new.txt", b"A new text, told to be Bob's.", "bob"),
        whole.upload(whole.anna, "copy.txt", texts[theirs], "anna"),
    ]
    for answer in refused:
        assert answer.status_code == 403, answer.text
        assert "outside" in answer.json()["error"]["message"]
    with pytest.raises(ForbiddenError):
        whole.parts.narrowed(key).jobs.submit(IngestRequest(["s3://bucket/a/"], prune=True))
    assert rows(whole) == before
    assert not list(whole.parts.uploads.folder.glob("incoming/*"))
    ours = next(x for x in texts if "anna" in (before[x].metadata.get("tags") or ()))  # type: ignore[operator]
    added = whole.ask(whole.anna, "PATCH", f"/v1/assets/{ours}", json={"add_tags": ["sea"]})
    assert added.json()["tags"][-1] == "sea"
    removed = whole.ask(whole.anna, "PATCH", f"/v1/assets/{ours}", json={"remove_tags": ["anna"]})
    assert removed.status_code == (403 if is_tag else 200)
    if not is_tag:
        return
    mine = whole.upload(whole.anna, "mine.txt", b"A text of my own, on tulips.", "anna")
    assert (mine.status_code, mine.json()["job"]["ingested"]) == (200, 1)
    job, (asset_id,) = mine.json()["job"]["id"], mine.json()["job"]["asset_ids"]
    for token in (whole.anna, whole.owner):
        assert whole.ask(token, "GET", f"/v1/jobs/{job}").status_code == 200
    listed = whole.ask(whole.anna, "GET", "/v1/jobs").json()["jobs"]
    assert [entry["id"] for entry in listed] == [job]
    other = whole.ring.create("another", ["read"], 1000, TAG)[1]
    assert whole.ask(other, "GET", f"/v1/jobs/{job}").status_code == 404
    assert whole.ask(other, "GET", f"/v1/assets/{asset_id}").status_code == 200
    packed = BytesIO()
    with ZipFile(packed, "w") as archive:
        archive.writestr("inner.txt", texts[theirs])
    job = whole.upload(whole.anna, "all.zip", packed.getvalue(), "anna").json()["job"]
    assert (job["failed"], job["failures"][0]["error"]) == (1, "OutsideError")
    assert rows(whole)[theirs] == before[theirs]
    assert whole.ask(whole.anna, "DELETE", f"/v1/assets/{asset_id}").status_code == 204
    assert whole.parts.uploads.file_of(asset_id) is None


def test_an_upload_that_waited_stays_within_its_keys_filter(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is only known once it was read, after a restart as well."""
    whole, _ = sides
    jobs = whole.parts.jobs
    assert isinstance(jobs, LocalJobs)
    pictures = {"field": "modality", "eq": "image"}
    key, token = whole.ring.create("pictures", ["read", "write"], 1000, pictures)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "submit", lambda _request: "lost")
        whole.upload(token, "a.txt", b"No picture.")
        other = whole.upload(whole.owner, "b.txt", b"Not a picture either.")
        assert other.status_code == 404  # the job is lost
    by_key = {jobs.status(job_id).request.key: job_id for job_id in jobs.resume()}
    assert by_key.keys() == {"", key.key_id}
    for job_id, ended in ((by_key[""], (1, 0)), (by_key[key.key_id], (0, 1))):
        while not (job := jobs.status(job_id)).ended:
            sleep(0.05)
        assert (job.ingested, job.failed) == ended
    assert not jobs.resume()


def test_sessions_and_changes_of_a_filter(sides: tuple[Side, Side]) -> None:
    whole, _ = sides
    key, token = whole.ring.create("a guest", ["read"], 100_000, TAG)
    n_all = whole.parts.store.count()

    def n_seen(**headers: str) -> int:
        return int(whole.client.get("/v1/info", headers=headers).json()["assets"])

    bearer = {"Authorization": f"Bearer {token}"}
    cookie = whole.client.post("/v1/session", headers=bearer).cookies["anymodal_session"]
    session = {"Cookie": f"anymodal_session={cookie}"}
    whole.client.cookies.clear()
    n_of_anna = n_seen(**bearer)
    assert 0 < n_of_anna == n_seen(**session) < n_all
    nobody = {"field": "tags", "contains": "nobody"}
    for restricted, n_wanted in ((nobody, 0), (None, n_all), (TAG, n_of_anna)):
        whole.ring.restrict(key.key_id, restricted)
        assert n_seen(**bearer) == n_seen(**session) == n_wanted
