"""HEIC and AVIF: whole pictures, turned once."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from encoder.errors import MediaLimitError
from encoder.media import image_facts, load_image
from tests.support.media import picture, write_heic

pytestmark = pytest.mark.slow

ORIENTATION = 0x0112


def marked() -> NDArray[np.uint8]:
    """A picture whose upper left corner is red."""
    rgb = picture(320, 240)
    rgb[:80, :80] = (255, 0, 0)
    return rgb


def as_seen(orientation: int) -> NDArray[np.uint8]:
    """What Pillow makes of a JPEG with this turn."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(marked()).save(file, "JPEG", quality=95, exif=exif.tobytes())
    return load_image(file.getvalue())


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("tile_px", [None, 128], ids=["whole", "tiled"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_one_picture_turned_once(
    tmp_path: Path, orientation: int, tile_px: int | None
) -> None:
    path = write_heic(tmp_path / "a.heic", marked(), orientation, tile_px)
    assert (b"grid" in path.read_bytes()) == bool(tile_px)
    expected = as_seen(orientation)
    assert difference(load_image(path), expected) < 3
    facts = image_facts(path)
    sides = (320, 240) if orientation < 5 else (240, 320)
    assert (facts.media_type, facts.width, facts.height) == ("image/heic", *sides)
    assert (facts.decoded_pixels, facts.n_frames) == (76_800, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(marked()).save(file, "AVIF", quality=90, exif=exif.tobytes())
    assert difference(load_image(file.getvalue()), as_seen(orientation)) < 3


def test_only_the_container_turns_an_avif() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
    file = io.BytesIO()
    Image.fromarray(marked()).save(file, "AVIF", quality=90, xmp=xmp)
    assert difference(load_image(file.getvalue()), as_seen(1)) < 3


def test_of_several_pictures_the_primary_one_counts(tmp_path: Path) -> None:
    import pillow_heif

    colours = ("red", "green", "blue")
    file = pillow_heif.from_pillow(Image.new("RGB", (64, 48), colours[0]))
    for colour in colours[1:]:
        file.add_from_pillow(Image.new("RGB", (64, 48), colour))
    file.save(tmp_path / "a.heic", primary_index=2)
    assert image_facts(tmp_path / "a.heic").n_frames == 3
    assert load_image(tmp_path / "a.heic")[24, 32].argmax() == 2


def test_transparent_heic_is_over_white(tmp_path: Path) -> None:
    import pillow_heif

    clear = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    pillow_heif.from_pillow(clear).save(tmp_path / "a.heic")
    assert load_image(tmp_path / "a.heic").min() > 250


def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heic", picture(64, 64))
    size = b"ispe\0\0\0\0" + (64).to_bytes(4, "big") * 2
    data = path.read_bytes()
    assert data.count(size) == 1
    lie = data.replace(size, size[:8] + (9_000).to_bytes(4, "big") * 2)
    assert image_facts(lie).decoded_pixels == 81_000_000
    with pytest.raises(MediaLimitError, match="81,000,000 pixels; max_pixels"):
        load_image(lie)
