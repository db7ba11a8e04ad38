"""Search over HTTP: in text, pictures and sound."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

BROKEN = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def found(client: httpx.Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/v1/search", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_text_finds_a_text(client: httpx.Client) -> None:
    hit = found(client, query="how to bake bread", modalities=["text"])["hits"][0]
    assert hit["name"] == "bread.txt"
    assert hit["media_type"] == "text/plain"
    assert "dough" in hit["snippet"]


def test_the_answer_tells_where_the_time_went(client: httpx.Client) -> None:
    answer = client.post("/v1/search", json={"query": "rain"})
    stages = answer.json()["latency_ms"]
    assert {"queue", "decode", "encode_text", "search", "serialize", "total"} <= set(stages)
    assert sum(ms for stage, ms in stages.items() if stage != "total") <= stages["total"] * 1.01
    assert "encode_text;dur=" in answer.headers["server-timing"]


@pytest.mark.parametrize(("kind", "name"), [("image", "sky.jpg"), ("audio", "tone.wav")])
def test_media_find_themselves(client: httpx.Client, folder: Path, kind: str, name: str) -> None:
    data = base64.b64encode((folder / name).read_bytes()).decode()
    hits = found(client, query=[{kind: data}], modalities=[kind])["hits"]
    assert hits[0]["name"] == name
    assert found(client, query=[{kind: f"data:;base64,{data}"}])["hits"]


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        ({"query": ""}, 422, "query[0].text"),
        ({"query": []}, 422, "query"),
        ({"query": [{"image": 7}]}, 422, "query[0].image"),
        ({"query": " "}, 422, "query[0].text"),
        ({"query": [{"image": "?"}]}, 422, "query[0].image"),
        ({"query": [{"image": base64.b64encode(BROKEN).decode()}]}, 422, None),
        ({"query": [{"image": base64.b64encode(b"plain text").decode()}]}, 415, None),
        ({"query": "a", "limit": 0}, 422, "limit"),
        ({"query": "a", "modalities": ["smell"]}, 422, "query.modalities"),
        ({"query": "a", "colour": "red"}, 422, "colour"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    client: httpx.Client, request_: dict[str, Any], status: int, field: str | None
) -> None:
    answer = client.post("/v1/search", json=request_)
    assert answer.status_code == status, answer.text
    fault = answer.json()["error"]
    if field:
        assert fault["field"] == field
    assert fault["message"]
    assert "/tmp" not in answer.text


def test_no_path_of_the_server_is_told(client: httpx.Client, folder: Path) -> None:
    answer = client.post("/v1/search", json={"query": "anything"})
    assert len(answer.json()["hits"]) == 4
    assert str(folder) not in answer.text
