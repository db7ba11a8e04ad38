"""Search over HTTP: in text, pictures and sound."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from encoder.system.cache import cache_home
from encoder.types import Utterance, Waveform
from examples.speech import Speaker
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.services import Services
from tests.integration.api.conftest import served

BROKEN = b"\x89PNG\r\n\x1a\n" + b"\0" * 40


def found(client: httpx.Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/v1/search", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


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


RATE = 16_000
ASKED = "Knead the dough, and then bake the loaf in a hot oven."
PCM, WAV = {"Content-Type": "audio/pcm"}, {"Content-Type": "audio/wav"}


@pytest.fixture(scope="module")
def sound() -> NDArray[np.float32]:
    """A question between pauses."""
    speaker = Speaker(cache_home())
    said = soxr.resample(speaker.say(ASKED), speaker.sampling_rate, RATE)
    return np.pad(np.asarray(said, np.float32), (RATE // 2, 2 * RATE))


@pytest.fixture(scope="module")
def raw(sound: NDArray[np.float32]) -> bytes:
    """The same, as it comes from a microphone."""
    return (32_767 * sound).astype("<i2").tobytes()


def file_of(sound: NDArray[np.float32], rate: int, kind: str) -> bytes:
    """The same as a file."""
    file = io.BytesIO()
    soundfile.write(file, soxr.resample(sound, RATE, rate), rate, "PCM_16", format=kind)
    return file.getvalue()


def pieces(data: bytes, size: int = 3_001) -> Iterator[bytes]:
    """What httpx sends in chunks, without a length."""
    yield from (data[at : at + size] for at in range(0, len(data), size))


def check(answer: dict[str, Any]) -> None:
    """It was understood, and found what it asks for."""
    (said,) = answer["said"]
    assert "loaf" in said["text"].lower()
    assert said["language"] == "en"
    assert said["start_s"] == pytest.approx(0.5, abs=0.5)
    assert said["recognize_ms"] > 0
    assert answer["after_speech_ms"] > 0
    assert [hit["name"] for hit in answer["hits"]] == ["bread.txt"]
    stages = dict(answer["latency_ms"])
    assert {"recognize", "encode_text", "search"} <= stages.keys()
    total = stages.pop("total")
    assert sum(stages.values()) <= total * 1.01


def test_raw_sound_in_chunks_finds_what_is_said(client: httpx.Client, raw: bytes) -> None:
    asked = {"limit": 1, "modalities": '["text"]', "text": "a cake"}
    answer = client.post("/v1/search", params=asked, content=pieces(raw), headers=PCM)
    check(answer.json())
    assert answer.headers["server-timing"].startswith("recognize;dur=")
    kinds = client.get("/v1/latency").json()["by_modality"]
    assert "recognize" in kinds["speech"]["5m"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_sends_a_pipe(client: httpx.Client, sound: NDArray[np.float32]) -> None:
    url = client.base_url.join("/v1/search?limit=1")
    command = ["curl", "-sS", "-X", "POST", "-T", "-", "-H", "Content-Type: audio/wav", str(url)]
    data = file_of(sound, RATE, "WAV")
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60)
    check(json.loads(done.stdout))


@pytest.mark.parametrize(("kind", "rate"), [("WAV", 44_100), ("FLAC", 22_050)])
def test_other_sound_is_decoded_at_its_end(
    client: httpx.Client, sound: NDArray[np.float32], kind: str, rate: int
) -> None:
    data = file_of(sound, rate, kind)
    headers = {"Content-Type": f"audio/{kind.lower()}"}
    answer = client.post("/v1/search?limit=1", content=pieces(data), headers=headers)
    check(answer.json())


def test_words_are_recognised_while_more_arrives(parts: Services, raw: bytes) -> None:
    heard = Event()

    def transcribe(_sound: Waveform) -> list[Utterance]:
        heard.set()
        return [Utterance(0.0, 1.0, "bake a loaf", 0.9, "en")]

    def talk() -> Iterator[bytes]:
        yield from pieces(raw)
        assert heard.wait(30), "nothing was recognised before the end"
        yield bytes(RATE)

    with served(replace(parts, transcribe=transcribe)) as client:
        answer = client.post("/v1/search?limit=1", content=talk(), headers=PCM).json()
    assert [said["text"] for said in answer["said"]] == ["bake a loaf"]


def test_words_so_far_come_without_hits(client: httpx.Client, sound: NDArray[np.float32]) -> None:
    def heard(part: NDArray[np.float32]) -> str:
        data = file_of(part, RATE, "WAV")
        answer = client.post("/v1/search/spoken?partial=true", content=data, headers=WAV).json()
        assert not answer["hits"]
        return " ".join(said["text"] for said in answer["said"]).lower()

    assert "dough" in heard(sound[: -3 * RATE])
    assert not heard(sound[: RATE // 4])


def test_refusals_name_the_remedy(client: httpx.Client, parts: Services) -> None:
    def refused(status: int, content: bytes, headers: dict[str, str], query: str = "") -> str:
        answer = client.post(f"/v1/search{query}", content=pieces(content), headers=headers)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        return f"{error['message']} {error['remedy']}"

    assert "without recognisable words" in refused(422, bytes(3 * RATE), PCM)
    assert "longer than 60 s" in refused(413, bytes(2 * 61 * RATE), PCM)
    refused(415, b"only words", WAV)
    refused(422, b"", PCM)
    refused(415, b"a,b", {"Content-Type": "text/csv"})
    with served(replace(parts, transcribe=None)) as deaf:
        answer = deaf.post("/v1/search", content=bytes(RATE), headers=PCM)
    assert answer.status_code == 422
    assert "does not transcribe speech" in answer.text
