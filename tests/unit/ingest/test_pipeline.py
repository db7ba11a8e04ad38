import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import MediaError
from ingest import Failure, IngestConfig, identify, ingest, segments
from tests.support.media import picture, tone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files that can be read among four that cannot."""
    (tmp_path / "a.txt").write_text("Foxes run.")
    Image.fromarray(picture(90, 60)).save(tmp_path / "b.png")
    soundfile.write(tmp_path / "c.wav", tone(2), 44_100)
    (tmp_path / "aa.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    (tmp_path / "bb.mp3").write_bytes(b"")
    (tmp_path / "cc.bin").write_bytes(np.random.default_rng(0).bytes(3000))
    samples = tone(12)
    samples[-1] = np.nan
    soundfile.write(tmp_path / "d.wav", samples, 44_100, subtype="FLOAT")
    return tmp_path


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(folder: Path) -> None:
    failures: list[Failure] = []
    found = list(ingest(folder, on_failure=failures.append))
    assert {s.modality for s in found} == {"text", "image", "audio"}
    assert [(Path(f.uri).name, f.error) for f in failures] == [
        ("aa.png", "CorruptMediaError"),
        ("bb.mp3", "CorruptMediaError"),
        ("cc.bin", "UnsupportedMediaError"),
        ("d.wav", "CorruptMediaError"),
    ]
    assert all(f.uri in f.reason for f in failures)


def test_failures_are_logged_by_default(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ingest"):
        list(ingest([folder / "bb.mp3", folder / "missing"]))
    assert "bb.mp3 is empty" in caplog.text
    assert "No such file" in caplog.text


def test_it_is_lazy(folder: Path) -> None:
    stream = ingest(folder)
    assert next(stream).content == "Foxes run."
    (folder / "b.png").unlink()
    (folder / "c.wav").unlink()
    (folder / "d.wav").unlink()
    assert list(stream) == []


def test_a_file_that_vanishes_after_identify_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Foxes run.")
    config = IngestConfig()
    asset = identify(tmp_path / "a.txt", config)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        list(segments(asset, config))
