"""Assets and their files over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.types import Failure
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.config import ApiConfig
from search.api.responses.plain_values import failure_json
from search.api.services import Services
from search.filters import Compare, Operator
from tests.integration.api.conftest import served
from tests.integration.api.wire import bearer
from tests.support.waiting import wait_for


def id_of(client: httpx.Client, name: str) -> str:
    hits = client.post("/v1/search", json={"query": "anything"}).json()["hits"]
    return next(hit["asset_id"] for hit in hits if hit["name"] == name)


def test_an_asset_is_described(client: httpx.Client) -> None:
    asset = client.get(f"/v1/assets/{id_of(client, 'tone.wav')}").json()
    assert asset["media_type"] == "audio/wav"
    assert asset["n_segments"] == 2
    assert client.get(asset["content_url"]).headers["content-type"] == "audio/wav"


def test_what_a_filter_leaves_is_counted(client: httpx.Client) -> None:
    filter = {"field": "modality", "in": ["text", "image"]}
    counts = client.get("/v1/facets", params={"filter": json.dumps(filter)}).json()
    values = [{"value": "text", "count": 2}, {"value": "image", "count": 1}]
    assert counts["fields"]["modality"] == {"values": values, "others": 0}
    assert (counts["assets"], counts["complete"]) == (3, True)
    assert sum(month["count"] for month in counts["months"]) == 3


def test_the_newest_are_listed_page_by_page(client: httpx.Client) -> None:
    asked: dict[str, str | int] = {"sort": "newest", "limit": 3}
    page = client.get("/v1/assets", params=asked).json()
    rest = client.get("/v1/assets", params=asked | {"cursor": page["next_cursor"]}).json()
    listed = [*page["assets"], *rest["assets"]]
    order = [(int(one["metadata"]["modified"]), one["asset_id"]) for one in listed]
    assert order == sorted(order, reverse=True)
    assert len({one["asset_id"] for one in listed}) >= 4
    back = client.get("/v1/assets", params={"sort": "oldest", "limit": 3}).json()
    went = [one["asset_id"] for one in back["assets"]]
    assert back["sort"] == "oldest"
    back = client.get("/v1/assets", params={"sort": "oldest", "cursor": back["next_cursor"]}).json()
    went += [one["asset_id"] for one in back["assets"]]
    assert went[::-1] == [asset_id for _, asset_id in order]
    auto = client.get("/v1/assets", params={"sort": "auto"}).json()
    assert auto["sort"] == page["sort"] == "newest"
    assert client.get("/v1/assets").json()["sort"] == "id"
    since = client.get("/v1/assets", params=asked | {"cursor": f"{order[-1][0]}_"}).json()
    assert since["assets"] == []
    assert client.get("/v1/assets", params=asked | {"cursor": "x"}).status_code == 422


def test_content_comes_in_ranges(client: httpx.Client, folder: Path) -> None:
    url = f"/v1/assets/{id_of(client, 'sky.jpg')}/content"
    part = client.get(url, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206
    assert part.content == (folder / "sky.jpg").read_bytes()[10:20]


def test_content_that_a_client_has_is_not_sent_again(client: httpx.Client, folder: Path) -> None:
    url = f"/v1/assets/{id_of(client, 'sky.jpg')}/content"
    head = client.head(url)
    assert head.content == b""
    assert int(head.headers["content-length"]) == (folder / "sky.jpg").stat().st_size
    again = client.get(url, headers={"If-None-Match": head.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_monitors_may_ask_for_the_head_alone(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path


def test_html_is_never_sent_as_html(client: httpx.Client) -> None:
    page = client.get(f"/v1/assets/{id_of(client, 'page.html')}/content")
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        ("这是一个中文句子，猫坐在垫子上。狗在花园里跑。", "gb18030", "gb18030"),
        ("Die Vögel fliegen über den Fluß, größer als früher.", "latin-1", "windows-1252"),
        ("Die Vögel fliegen über den Fluß.", "utf-16", "utf-16"),
        ("Die Vögel fliegen über den Fluß.", "utf-8", "utf-8"),
    ],
)
def test_the_encoding_of_a_text_is_named(
    client: httpx.Client, text: str, codec: str, label: str
) -> None:
    data = text.encode(codec)
    parts = [("file", ("note.txt", data))]
    job = client.post("/v1/assets", files=parts, data={"wait": "true"}).json()["job"]
    (asset_id,) = job["asset_ids"]
    answer = client.get(f"/v1/assets/{asset_id}/content")
    assert answer.headers["content-type"] == f"text/plain; charset={label}"
    assert (answer.content, answer.text.lstrip("\ufeff")) == (data, text)
    client.delete(f"/v1/assets/{asset_id}")


@contextmanager
def keyed(parts: Services, ring: KeyRing, scope: str, **settings: object) -> Iterator[httpx.Client]:
    """A client with a key of this scope."""
    config = ApiConfig.model_validate(settings)
    access = Access(ring, required=True)
    with served(replace(parts, config=config, access=access)) as client:
        client.headers.update(bearer(ring.create(scope, [scope], 60_000)[1]))
        yield client


def asked(client: httpx.Client, filter: dict[str, Any]) -> list[httpx.Response]:
    """A filter in every place that takes one."""
    listing = client.get("/v1/assets", params={"filter": json.dumps(filter)})
    body = {"query": "a rocket", "filter": filter, "explain": True}
    form = {"request": (None, json.dumps(body))}
    return [
        listing,
        client.post("/v1/search", json=body),
        client.post("/v1/search", files=form),
    ]


def found(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return sorted(one["name"] for one in body.get("hits", body.get("assets")))


def test_a_key_that_is_no_admins_asks_for_no_path(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    path = {"field": "path", "prefix": str(folder)[:3]}
    filters = [
        path,
        {"not": path},
        {"field": "path", "exists": False},
        {"or": [{"field": "title", "eq": "x"}, {"and": [path]}]},
    ]
    with keyed(parts, ring, "read") as client:
        for filter in filters:
            for answer in asked(client, filter):
                assert answer.status_code == 403, answer.text
                assert "PUBLIC_ROOTS" in answer.json()["error"]["remedy"]
                assert str(folder) not in answer.text
        assert found(asked(client, {"field": "modality", "eq": "audio"})[0]) == ["tone.wav"]


def test_an_admin_asks_for_any_path(parts: Services, ring: KeyRing, folder: Path) -> None:
    with keyed(parts, ring, "admin") as client:
        for answer in asked(client, {"field": "path", "prefix": f"{folder}/b"}):
            assert found(answer) == ["bread.txt"]


def test_paths_within_public_folders_are_for_all(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    with keyed(parts, ring, "read", public_roots=[str(folder)]) as client:
        for answer in asked(client, {"field": "path", "prefix": "bre"}):
            assert found(answer) == ["bread.txt"]
            assert str(folder) not in answer.text
        for outside in (str(folder), folder.name, "/"):
            for operator in ("prefix", "contains"):
                for answer in asked(client, {"field": "path", operator: outside}):
                    assert found(answer) == []
    parent = folder.parent.parent / "not-here"
    with keyed(parts, ring, "read", public_roots=[str(parent)]) as client:
        assert found(asked(client, {"field": "path", "exists": True})[0]) == []


def test_folders_are_counted_for_those_who_may_see_them(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    row = next(parts.store.scan())
    inner = replace(row, asset_id="inner", locations=[f"{folder}/inner/a.txt"])
    parts.store.write([inner], [])
    try:
        for scope, roots, wanted in (
            ("admin", [], {f"{folder}/inner/": 1}),
            ("read", [str(folder)], {"inner/": 1}),
            ("read", [], {}),
        ):
            with keyed(parts, ring, scope, public_roots=roots) as client:
                answer = client.get("/v1/facets", params={"folder": f"{folder}/" * (not roots)})
                listed = answer.json()["folders"]["values"]
            assert {one["value"]: one["count"] for one in listed} == wanted
            assert (folder.name in answer.text) == (scope == "admin")
    finally:
        parts.store.delete(["inner"])


def test_on_the_users_own_machine_paths_are_no_secret(client: httpx.Client, folder: Path) -> None:
    for answer in asked(client, {"field": "path", "prefix": f"{folder}/b"}):
        assert found(answer) == ["bread.txt"]


def test_all_who_reach_a_server_without_keys_are_not_its_user(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    with served(replace(parts, access=Access(ring, required=False))) as client:
        for answer in asked(client, {"field": "path", "prefix": str(folder)}):
            assert answer.status_code == 403


def test_a_read_key_cannot_distinguish_folders(
    parts: Services, ring: KeyRing, folder: Path
) -> None:
    """No answer to a reader holds any part of the path, whatever is asked."""
    assert list(parts.store.select(Compare("path", Operator.PREFIX, f"{folder}/")))
    with keyed(parts, ring, "read") as client:
        ids = [one["asset_id"] for one in client.get("/v1/assets").json()["assets"]]
        answers = [client.get("/v1/assets"), client.get("/v1/jobs"), client.get("/v1/info")]
        answers += [client.get("/v1/facets"), client.get("/v1/facets", params={"folder": "/"})]
        answers += [client.get(f"/v1/assets/{asset_id}") for asset_id in ids]
        answers += [client.head(f"/v1/assets/{asset_id}/content") for asset_id in ids]
        body = {"query": "a rocket", "explain": True}
        answers += [client.post("/v1/search", json=body)]
        answers += [client.post("/v1/search", json=body | {"sort": "path"})]
    for answer in answers:
        assert folder.name not in answer.text
        assert folder.name not in str(answer.headers)


def test_a_reason_names_no_path_of_the_server() -> None:
    """Nor the path of a link's target, which is in a different place from the link."""
    link = "/srv/photos/a b/link.jpg"
    reason = f"{link} is a link that leads out of the folder, to /home/ann smith/x/y.jpg."
    told = failure_json(Failure(link, "RefusedLinkError", reason))
    assert told["reason"] == "link.jpg is a link that leads out of the folder, to y.jpg."
    media = Failure(link, "MediaError", f"{link} is image/x-odd, and/or a/b of https://e.org/x.")
    assert (
        failure_json(media)["reason"] == "link.jpg is image/x-odd, and/or a/b of https://e.org/x."
    )


def test_a_root_is_a_whole_path_or_an_address() -> None:
    assert ApiConfig.model_validate({"public_roots": ["/srv/a", "/srv/b/"]}).public_roots == (
        "/srv/a/",
        "/srv/b/",
    )
    with pytest.raises(ValueError, match="absolute"):
        ApiConfig.model_validate({"public_roots": ["photos"]})


def test_the_folder_of_a_file_is_opened_for_this_machines_user_alone(
    client: httpx.Client,
    parts: Services,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened, opener = tmp_path / "opened", tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", str(opener.parent), prepend=":")
    path = f"/v1/assets/{id_of(client, 'tone.wav')}/folder"
    everybody = Access(KeyRing(tmp_path / "keys.json"), required=False)
    with served(replace(parts, access=everybody)) as other:
        assert other.post(path).status_code == 403
    monkeypatch.setenv("DISPLAY", ":7")
    assert client.post(path).status_code == 204
    wait_for(opened.exists)
    assert Path(opened.read_text()) in [folder, *folder.rglob("*")]

    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    refused = client.post(path)
    assert refused.status_code == 404
    assert "tone.wav" in refused.json()["error"]["remedy"]


def test_the_text_of_a_file_is_read_around_a_passage(client: httpx.Client) -> None:
    hit = client.post("/v1/search", json={"query": "bread"}).json()["hits"][0]
    path = f"/v1/assets/{hit['asset_id']}/passages"
    read = client.get(path, params={"around": hit["segment_id"], "limit": 1}).json()
    assert read["total"] >= 1
    assert read["passages"][0]["segment_id"] == hit["segment_id"]
    assert "dough" in read["passages"][0]["text"]
    assert client.get("/v1/assets/unknown/passages").status_code == 404
