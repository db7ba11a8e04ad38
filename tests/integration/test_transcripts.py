"""Words find the second at which they are said; a question that is spoken is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from click.testing import CliRunner
from numpy.typing import NDArray

from encoder.system.cache import cache_home
from examples.speech import Speaker
from tests.integration.conftest import Run
from tests.support.media import write_film
from workers.cli import anymodal

RATE = 48_000
# Sentences by their start in seconds; the first and the last cross the borders of windows.
SAID = {
    3.0: "The museum will be closed on Monday while the paintings are being restored.",
    12.0: "My grandmother taught me how to play the violin when I was six years old.",
}


@pytest.fixture(scope="module")
def talk(bundle_home: Path) -> NDArray[np.float32]:
    """Twenty seconds of a soft hum with two sentences in it."""
    assert bundle_home.is_dir()
    speaker = Speaker(cache_home())
    track = np.random.default_rng(0).normal(0, 0.001, 20 * RATE).astype(np.float32)
    for start_s, sentence in SAID.items():
        samples = soxr.resample(speaker.say(sentence), speaker.sampling_rate, RATE)
        track[round(start_s * RATE) :][: len(samples)] += samples
    return track


def moment(here: Run, *query: str) -> dict[str, Any]:
    hit: dict[str, Any] = here("search", *query, "--limit", 1)["hits"][0]
    return hit


def test_words_find_the_second_in_a_recording(
    here: Run, talk: NDArray[np.float32], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "talk.flac", talk, RATE)
    (tmp_path / "note.txt").write_text("The ferry leaves at nine.")
    report = here("ingest", tmp_path / "talk.flac", tmp_path / "note.txt")
    assert report["segments"] == {"audio": 4, "text": 3}
    assert {"transcribe", "encode_text"} <= set(report["stage_s"])
    (heard,) = [a for a in here("list")["assets"] if a["media_type"].startswith("audio/")]
    assert heard["metadata"]["speech_s"] == pytest.approx(9.0, abs=2.5)

    for start_s, query, word in (
        (3.0, "when is the museum closed?", "paintings"),
        (12.0, "who taught her to play the violin?", "grandmother"),
    ):
        hit = moment(here, query, "--modality", "text")
        assert Path(hit["uri"]).name == "talk.flac"
        assert (hit["modality"], word in hit["snippet"]) == ("text", True)
        assert hit["start_s"] == pytest.approx(start_s, abs=0.8)
        assert hit["start_s"] + 2 < hit["end_s"] < start_s + 7

    assert here("ingest", tmp_path)["unchanged"] == 2


def test_a_film_is_found_by_what_is_said_in_it(
    here: Run, talk: NDArray[np.float32], tmp_path: Path
) -> None:
    write_film(tmp_path / "film.mp4", seconds=20.0, samples=talk)
    report = here("ingest", tmp_path / "film.mp4")
    assert report["segments"]["text"] == 2
    hit = moment(here, "playing the violin at the age of six", "--modality", "text")
    assert Path(hit["uri"]).name == "film.mp4"
    assert hit["start_s"] == pytest.approx(12.0, abs=0.8)
    assert "grandmother" in hit["snippet"]


def test_transcripts_can_be_left_out(here: Run, talk: NDArray[np.float32], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "talk.wav", talk[: 6 * RATE], RATE)
    report = here("ingest", tmp_path / "talk.wav", ANYMODAL_TRANSCRIPTS="false")
    assert report["segments"] == {"audio": 2}


QUESTION_RATE = 16_000


@pytest.mark.slow
def test_a_spoken_question_is_answered(
    here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "museum.txt").write_text("The museum is closed on Monday.")
    (tmp_path / "ferry.txt").write_text("The ferry leaves the harbour at nine.")
    here("ingest", tmp_path)
    speaker = Speaker(cache_home())
    asked = "The museum will be closed on Monday while the paintings are being restored."
    said = soxr.resample(speaker.say(asked), speaker.sampling_rate, QUESTION_RATE)
    sound = np.pad(np.asarray(said), (QUESTION_RATE, 2 * QUESTION_RATE))
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "data" / "store"))

    done = CliRunner().invoke(
        anymodal,
        ["search", "--listen", "-", "--limit", "1"],
        input=(32_767 * sound).astype("<i2").tobytes(),
        standalone_mode=False,
        catch_exceptions=False,
    )
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert "museum" in found["said"].lower()
    assert [Path(hit["uri"]).name for hit in found["hits"]] == ["museum.txt"]
    assert {"recognize", "encode_text", "total"} <= found["latency_s"].keys()
    assert found["start_s"] == pytest.approx(1.0, abs=0.5)
    assert 0 < found["after_speech_s"] < 60
