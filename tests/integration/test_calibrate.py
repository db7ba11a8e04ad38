"""`anymodal store calibrate` on a model of a hub, and a store that is calibrated automatically."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from tests.support import tiny_models as tiny
from workers.cli import anymodal
from workers.pipeline import calibration as calibrating

_WORDS = (
    "sea bread moon tax choir goat river who opens the old door and counts nine blue boats while "
    "rain falls on my garden zebra quick jazz vow"
).split()
QUESTIONS = ["a boat on a calm lake", "wie lange kocht ein Ei", "Marie Curie", "sunset mountains"]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP whose texts lie near each other, and its pictures elsewhere."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(2)
    tiny.save_clip(folder)
    return folder


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many texts as pictures."""
    folder = tmp_path_factory.mktemp("album")
    rng = np.random.default_rng(0)
    for number in range(20):
        words = rng.choice(_WORDS, 9, replace=False)
        (folder / f"{number}.txt").write_text(f"{' '.join(words)}, said number {number}.")
        colours = rng.integers(0, 255, (2, 2, 3)).astype(np.uint8)
        picture = Image.fromarray(colours).resize((64, 64), Image.Resampling.NEAREST)
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def settings(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {
        "STORE": str(tmp_path / "store"),
        "DATA": str(tmp_path / "data"),
        "ENCODER__MODEL": f"dir:{clip}",
        "ENCODER__QUANTIZATION": "none",
        "INGEST__ISOLATE": "false",
        "CALIBRATE": "false",
    }.items():
        monkeypatch.setenv(f"ANYMODAL_{name}", value)


def run(*words: object) -> Any:
    done = CliRunner().invoke(anymodal, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def pictures_among_the_best() -> int:
    """How many of 40 hits are pictures."""
    hits = [hit for words in QUESTIONS for hit in run("search", words, "--no-lexical")["hits"]]
    assert len(hits) == 40
    return sum(hit["modality"] == "image" for hit in hits)


def calibration() -> Any:
    findings = {one["part"]: one for one in run("doctor")["findings"]}
    return findings["calibration"]


def test_a_list_that_one_kind_fills_is_mixed_after_calibrating(album: Path) -> None:
    assert run("ingest", album)["ingested"] == 40
    assert pictures_among_the_best() == 0
    assert calibration()["text"] == "not calibrated"
    dry = run("store", "calibrate", "--dry-run")
    assert (dry["dry_run"], dry["rows"]) == (True, 0)
    assert calibration()["facts"]["source"] == "none"
    told = run("store", "calibrate")
    assert told["rows"] == 40
    assert told["measured"] == dry["measured"]
    assert 8 < pictures_among_the_best() < 32
    facts = calibration()["facts"]
    assert facts["source"] == "measured"
    assert facts["modalities"]["image"]["n_vectors"] == 20
    assert facts["modalities"]["text"]["mu"] == told["measured"]["text"]["mu"]
    assert "measured 20" in calibration()["text"]


def test_a_store_is_calibrated_as_it_is_filled(
    album: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ANYMODAL_CALIBRATE", "true")
    monkeypatch.setattr(calibrating, "LEAST_SEGMENTS", 10)
    with caplog.at_level(logging.INFO, logger=calibrating.__name__):
        run("ingest", album)
    assert "calibrated" in caplog.text
    facts = calibration()["facts"]
    assert (facts["source"], facts["is_rewriting"]) == ("measured", False)
    assert 8 < pictures_among_the_best() < 32
