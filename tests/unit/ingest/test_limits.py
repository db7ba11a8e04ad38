from pathlib import Path

import pytest
from PIL import Image

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from encoder.media import stream_frames
from ingest import IngestConfig, identify
from ingest.config import check
from tests.support.media import picture, write_film

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
