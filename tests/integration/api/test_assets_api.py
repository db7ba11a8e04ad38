"""Assets and their files over HTTP."""

import json
from pathlib import Path

import httpx
import pytest


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


def test_an_unknown_asset_is_not_found(client: httpx.Client) -> None:
    for path in ("/v1/assets/00ff", "/v1/assets/00ff/content"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "NotFoundError"


def test_the_server_says_how_it_is(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/v1/info", "/v1/latency", "/openapi.json", "/"):
        assert client.get(path).status_code == 200, path
