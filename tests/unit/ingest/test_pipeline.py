import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from encoder.media import stream_frames
from ingest import Failure, IngestConfig, identify, ingest, segments
from ingest.config import check
from tests.support.media import picture, tone, write_film


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


LIMITS = [name for name in IngestConfig.model_fields if name.startswith("max_")]


@pytest.mark.parametrize("limit", LIMITS)
def test_each_limit_is_named_with_its_remedy(limit: str) -> None:
    config = IngestConfig(**{limit: 7})
    check("a.mp4", limit, 7, config)
    with pytest.raises(MediaLimitError) as raised:
        check("a.mp4", limit, 12_345, config)
    message = str(raised.value)
    assert message.startswith("a.mp4 has 12,345 ")
    assert f"{limit} is 7 " in message
    by_variable = f"ANYMODAL_INGEST__{limit.upper()}" in message
    assert by_variable == (limit in IngestConfig.settable())
    assert f"IngestConfig.{limit}" in message


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_frames_of_a_picture_are_counted_by_its_header(tmp_path: Path, name: str) -> None:
    first, *others = (Image.fromarray(picture(40, 30, seed)) for seed in range(3))
    first.save(tmp_path / name, save_all=True, append_images=others)
    with pytest.raises(MediaLimitError, match="max_image_frames is"):
        identify(tmp_path / name, IngestConfig(max_image_frames=2))
    identify(tmp_path / name, IngestConfig(max_image_frames=3))


def test_a_frame_beyond_the_pixels_is_not_decoded(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=1)
    with pytest.raises(MediaLimitError, match="max_pixels is"):
        identify(path, IngestConfig(max_pixels=320 * 240 - 1))
    identify(path, IngestConfig(max_pixels=320 * 240))
    with pytest.raises(CorruptMediaError):
        next(stream_frames(path, max_pixels=320 * 240 - 1))
    assert next(stream_frames(path, max_pixels=100_000))[1].shape == (240, 320, 3)


def test_files_lie_in_the_roots_whatever_their_path_says(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "secret.txt")
    config = IngestConfig(roots=(str(tmp_path / "in"),))
    assert identify(tmp_path / "in" / ".." / "in" / "a.txt", config).size_bytes == 1
    for leak in ("in/link.txt", "in/../secret.txt", "secret.txt"):
        with pytest.raises(MediaError, match="is outside the folders that may be read"):
            identify(tmp_path / leak, config)


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_INGEST__MAX_PIXELS", "99")
    monkeypatch.setenv("ANYMODAL_INGEST__ROOTS", '["/data"]')
    assert IngestConfig().max_pixels == 99
    assert IngestConfig().roots == ("/data",)
