"""Transcripts by OpenAI's client."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile

from encoder.system.cache import cache_home
from examples.speech import Speaker
from search.api.services import Services

SENTENCES = ["Where is the old harbour?", "The children are playing in the garden."]


@pytest.fixture(scope="module")
def sound() -> bytes:
    speaker = Speaker(cache_home())
    file = BytesIO()
    soundfile.write(file, speaker.say(" ".join(SENTENCES)), speaker.sampling_rate, format="FLAC")
    return file.getvalue()


@pytest.fixture(scope="module")
def openai_client(client: httpx.Client) -> Iterator[openai.OpenAI]:
    url = f"{client.base_url}/v1"
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as connected:
        yield connected


def test_every_format_has_what_was_said(openai_client: openai.OpenAI, sound: bytes) -> None:
    create, file = openai_client.audio.transcriptions.create, ("said.flac", sound)
    short = create(model="whisper-1", file=file)
    assert "children are playing in the garden" in short.text
    whole = create(
        model="whisper-1",
        file=file,
        response_format="verbose_json",
        timestamp_granularities=["segment"],
    )
    assert (whole.text, whole.language) == (short.text, "en")
    duration_s = soundfile.info(BytesIO(sound)).duration
    assert whole.duration == pytest.approx(duration_s, abs=0.01)
    assert whole.segments
    ends = [0.0]
    for segment in whole.segments:
        assert ends[-1] <= segment.start < segment.end <= duration_s + 0.1
        ends.append(segment.end)
    assert " ".join(segment.text for segment in whole.segments) == short.text
    assert create(model="whisper-1", file=file, response_format="text").strip() == short.text
    for form, time in (("srt", r"00:00:\d\d,\d{3}"), ("vtt", r"00:00:\d\d\.\d{3}")):
        subtitles = create(model="whisper-1", file=file, response_format=form)
        assert len(re.findall(rf"^{time} --> {time}$", subtitles, re.M)) == len(whole.segments)
        assert all(segment.text in subtitles for segment in whole.segments)


def test_what_cannot_be_done_is_refused_or_named(
    openai_client: openai.OpenAI, client: httpx.Client, sound: bytes
) -> None:
    create, file = openai_client.audio.transcriptions.create, ("said.flac", sound)
    raw = openai_client.audio.transcriptions.with_raw_response.create
    answer = raw(model="whisper-1", file=file, language="en", prompt="harbour")
    assert set(answer.headers["Ignored-Fields"].split(", ")) == {"language", "prompt"}
    with pytest.raises(openai.NotFoundError, match=r"gpt-4o.*bundle:"):
        create(model="gpt-4o-transcribe", file=file)
    with pytest.raises(openai.BadRequestError, match="granularities"):
        create(
            model="whisper-1",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
    with pytest.raises(openai.BadRequestError, match="stream"):
        create(model="whisper-1", file=file, stream=True)
    with pytest.raises(openai.APIStatusError, match="file"):
        create(model="whisper-1", file=("said.txt", b"These are no sounds."))
    for sent in ({"json": {"model": "whisper-1"}}, {"files": {"model": (None, "whisper-1")}}):
        refused = client.post("/v1/audio/transcriptions", **sent)  # type: ignore[arg-type]
        assert 400 <= refused.status_code < 500
        assert refused.json()["error"]["message"]


def test_a_sound_is_as_long_as_a_question_may_be(
    openai_client: openai.OpenAI, parts: Services
) -> None:
    create, rate = openai_client.audio.transcriptions.create, 44_100
    for duration_s, is_taken in ((parts.config.max_query_s - 1, True), (70, False)):
        file = BytesIO()
        soundfile.write(file, np.zeros(round(duration_s * rate), np.float32), rate, format="WAV")
        if is_taken:
            assert create(model="whisper-1", file=("long.wav", file.getvalue())).text == ""
        else:
            with pytest.raises(openai.APIStatusError, match="60 s"):
                create(model="whisper-1", file=("long.wav", file.getvalue()))


def test_a_sound_without_speech_has_no_words(openai_client: openai.OpenAI, folder: Path) -> None:
    tone = (folder / "tone.wav").read_bytes()
    answer = openai_client.audio.transcriptions.create(
        model="whisper-1", file=("tone.wav", tone), response_format="verbose_json"
    )
    assert (answer.text, answer.segments) == ("", [])
