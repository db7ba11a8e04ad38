"""A spoken question as the body of a search, over real connections."""

from __future__ import annotations

import io
import json
import re
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
from search.api.services import Services
from tests.integration.api.conftest import served

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
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


def test_the_docs_example_runs(client: httpx.Client, raw: bytes) -> None:
    found = re.findall(r"```python\n(import httpx\n.*?)```", DOCS.read_text(), re.DOTALL)
    (example,) = [one for one in found if "microphone" in one]
    names: dict[str, Any] = {"sound": pieces(raw)}
    exec(example.replace("http://localhost:8080", str(client.base_url).rstrip("/")), names)
    assert names["answer"].json()["hits"][0]["name"] == "bread.txt"


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
