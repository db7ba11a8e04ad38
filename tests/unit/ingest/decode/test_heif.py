"""HEIC and AVIF on their way to segments: pictures, sequences and what lies beside them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest import IngestConfig, identify, ingest, segments
from tests.support.media import COLORS, picture, write_film, write_heic, write_heic_sequence

pytestmark = pytest.mark.slow

CONFIGS = [IngestConfig(isolate=isolate) for isolate in (False, True)]


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A HEIC of six tiles, to be turned."""
    path = tmp_path_factory.mktemp("turned") / "a.heic"
    return write_heic(path, picture(1536, 1024), 6, 512).read_bytes()


@pytest.mark.parametrize("config", CONFIGS, ids=["here", "isolated"])
def test_a_tiled_heic_is_one_whole_picture(
    turned: bytes, tmp_path: Path, config: IngestConfig
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(turned)
    asset = identify(path, config)
    assert (asset.modality, asset.media_type) == ("image", "image/heic")
    assert (asset.metadata["width"], asset.metadata["height"]) == (1024, 1536)
    (segment,) = segments(asset, config)
    assert (segment.modality, segment.start_s) == ("image", None)
    upright = np.rot90(picture(768, 512), -1)
    assert segment.content.shape == upright.shape
    assert np.abs(segment.content.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("config", CONFIGS, ids=["here", "isolated"])
def test_a_heic_sequence_is_a_film(tmp_path: Path, config: IngestConfig) -> None:
    asset = identify(write_heic_sequence(tmp_path / "a.heics"), config)
    assert (asset.modality, asset.media_type) == ("video", "video/heic")
    assert asset.duration_s == pytest.approx(6)
    frames = list(segments(asset, config))
    assert [frame.modality for frame in frames] == ["image"] * 3
    for frame, color in zip(frames, COLORS, strict=True):
        np.testing.assert_allclose(frame.content.mean(axis=(0, 1)), color, atol=14)


def test_an_avif_sequence_is_a_film(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), color) for color in COLORS]
    frames[0].save(
        tmp_path / "a.avif", save_all=True, append_images=frames[1:], duration=2000, quality=90
    )
    config = IngestConfig()
    asset = identify(tmp_path / "a.avif", config)
    assert (asset.modality, asset.media_type, asset.duration_s) == ("video", "video/avif", 6)
    found = list(segments(asset, config))
    assert [round(frame.start_s or 0) for frame in found] == [0, 2, 4]


def test_a_sequence_without_a_track_is_a_picture(tmp_path: Path) -> None:
    data = write_heic(tmp_path / "a.heic", picture(384, 384), tile_px=192).read_bytes()
    (tmp_path / "a.heic").write_bytes(data.replace(b"ftypheic", b"ftypmsf1"))
    asset = identify(tmp_path / "a.heic", IngestConfig())
    assert (asset.modality, asset.media_type) == ("image", "image/heic")
    (segment,) = segments(asset, IngestConfig())
    assert segment.content.shape == (384, 384, 3)


def test_a_live_photo_is_a_picture_and_a_film(tmp_path: Path) -> None:
    write_heic(tmp_path / "IMG_1.HEIC", picture(640, 480), 6, 256)
    write_film(tmp_path / "IMG_1.MOV", "libx265", seconds=2)
    kinds = {path.suffix: identify(path, IngestConfig()) for path in tmp_path.iterdir()}
    assert (kinds[".HEIC"].modality, kinds[".MOV"].modality) == ("image", "video")
    found = list(ingest(tmp_path))
    assert {s.modality for s in found if s.asset_id == kinds[".HEIC"].asset_id} == {"image"}
    assert {s.modality for s in found if s.asset_id == kinds[".MOV"].asset_id} == {"image", "audio"}


@pytest.mark.parametrize("suffix", ["heic", "jpg"])
def test_a_motion_photo_is_its_picture(tmp_path: Path, suffix: str) -> None:
    """Android appends the film to the picture: to a JPEG as it is, to a HEIC in a box."""
    still = tmp_path / f"a.{suffix}"
    if suffix == "heic":
        write_heic(still, picture(640, 480), tile_px=256)
    else:
        Image.fromarray(picture(640, 480)).save(still, quality=95)
    film = write_film(tmp_path / "a.mp4", seconds=2).read_bytes()
    box = (8 + len(film)).to_bytes(4, "big") + b"mpvd" if suffix == "heic" else b""
    still.write_bytes(still.read_bytes() + box + film)
    asset = identify(still, IngestConfig())
    assert asset.modality == "image"
    (segment,) = segments(asset, IngestConfig())
    assert np.abs(segment.content.astype(int) - picture(640, 480)).mean() < 4
