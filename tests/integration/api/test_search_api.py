"""Search over HTTP: in text, pictures and sound."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.services import Services
from tests.integration.api.conftest import served

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


def test_the_answer_shows_where_the_time_went(client: httpx.Client) -> None:
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
        ({"query": "a", "modalities": ["smell"]}, 422, "modalities"),
        ({"query": "a", "cursor": "zzz"}, 422, "cursor"),
        ({"query": [{"text": "a", "weight": -1}]}, 422, "query"),
        ({"query": [{"text": "a", "weight": 0}]}, 422, "query[0]"),
        ({"query": "a", "mix": "turns"}, 422, "mix"),
        ({"query": "a", "colour": "red"}, 422, "colour"),
    ],
)
def test_a_wrong_request_learns_what_is_wrong(
    client: httpx.Client, request_: dict[str, Any], status: int, field: str | None
) -> None:
    answer = client.post("/v1/search", json=request_)
    assert answer.status_code == status, answer.text
    fault = answer.json()["error"]
    if field:
        assert fault["field"] == field
        assert fault["message"].startswith(f"{field}: ")
    assert "Value error" not in fault["message"]
    assert fault["message"]
    assert "/tmp" not in answer.text


def test_paths_are_reported_to_this_machines_user_alone(
    client: httpx.Client, parts: Services, folder: Path, tmp_path: Path
) -> None:
    own = client.post("/v1/search", json={"query": "anything"})
    assert all(hit["uri"].startswith(str(folder)) for hit in own.json()["hits"])
    everybody = Access(KeyRing(tmp_path / "keys.json"), required=False)
    with served(replace(parts, access=everybody)) as other:
        answer = other.post("/v1/search", json={"query": "anything"})
    assert len(answer.json()["hits"]) == 4
    assert str(folder) not in answer.text


def test_a_form_with_files(client: httpx.Client, folder: Path) -> None:
    picture = ("sky.jpg", (folder / "sky.jpg").read_bytes())
    plain = client.post("/v1/search", files={"image": picture}, data={"modalities": '["image"]'})
    assert plain.status_code == 200, plain.text
    assert plain.json()["hits"][0]["name"] == "sky.jpg"
    request = json.dumps(
        {"query": [{"image": {"file": "mine"}}, {"text": "sky", "weight": 0.5}], "limit": 2}
    )
    named = client.post("/v1/search", files={"mine": picture}, data={"request": request})
    assert named.status_code == 200, named.text
    assert len(named.json()["hits"]) == 2
    wrong = json.dumps({"query": [{"image": {"file": "yours"}}]})
    missing = client.post("/v1/search", files={"mine": picture}, data={"request": wrong})
    assert missing.status_code == 422
    assert missing.json()["error"]["field"] == "query[0].image.file"
    both = client.post("/v1/search", files=[("image", picture)] * 2, data={"text": "sky"})
    assert both.status_code == 200, both.text


def test_latency_is_reported_by_stage_and_by_kind_of_query(client: httpx.Client) -> None:
    found(client, query="fog")
    latency = client.get("/v1/latency").json()
    for window in ("1m", "5m", "60m"):
        total = latency["windows"][window]["total"]
        assert total["n"] >= 1
        assert total["p50_ms"] <= total["p99_ms"] <= total["max_ms"]
        assert latency["by_modality"]["text"][window]["encode_text"]["n"] >= 1
    assert latency["slo"] is None  # no target is set
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'anymodal_query_stage_seconds_count{modality="text",stage="total"}' in metrics.text
    assert 'anymodal_http_requests_total{endpoint="search",status="200"}' in metrics.text


def test_a_slow_search_is_logged_without_its_words(
    parts: Services, caplog: pytest.LogCaptureFixture
) -> None:
    config = parts.config.model_copy(update={"slow_query_ms": 0.001})
    with served(replace(parts, config=config)) as client:
        answer = client.post("/v1/search", json={"query": "my secret wish"})
    (line,) = [r.getMessage() for r in caplog.records if r.name == "anymodal.slow"]
    facts = json.loads(line)
    assert facts["request_id"] == answer.headers["x-request-id"]
    assert facts["latency_ms"] == answer.json()["latency_ms"]
    assert "secret" not in line
