"""A question that is spoken into a pipe finds what it asks for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soxr
from click.testing import CliRunner

from encoder.system.cache import cache_home
from examples.speech import Speaker
from tests.integration.conftest import Run
from workers.cli import anymodal

RATE = 16_000


@pytest.mark.slow
def test_a_spoken_question_is_answered(
    here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "museum.txt").write_text("The museum is closed on Monday.")
    (tmp_path / "ferry.txt").write_text("The ferry leaves the harbour at nine.")
    here("ingest", tmp_path)
    speaker = Speaker(cache_home())
    asked = "The museum will be closed on Monday while the paintings are being restored."
    said = soxr.resample(speaker.say(asked), speaker.sampling_rate, RATE)
    sound = np.pad(np.asarray(said), (RATE, 2 * RATE))
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
