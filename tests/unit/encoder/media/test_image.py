import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from encoder.media import image_facts, load_image, rgb_array
from tests.support.media import picture


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff", "avif"])
def test_every_format_gives_the_picture(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(200, 120)).save(path)
    rgb = load_image(path)
    assert rgb.shape == (120, 200, 3)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - picture(200, 120)).mean() < 10


def test_paths_bytes_and_files_are_sources(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    expected = load_image(path)
    np.testing.assert_array_equal(load_image(str(path)), expected)
    np.testing.assert_array_equal(load_image(path.read_bytes()), expected)
    np.testing.assert_array_equal(load_image(io.BytesIO(path.read_bytes())), expected)


def test_pictures_shrink_to_the_short_side_and_never_grow(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture(3000, 1500)).save(path)
    assert load_image(path).shape == (512, 1024, 3)
    assert load_image(path, short_side=64).shape == (64, 128, 3)
    assert load_image(path, short_side=5000).shape == (1500, 3000, 3)


def test_a_jpeg_is_shrunk_by_its_decoder(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(picture(4096, 4096)).save(path)
    facts = image_facts(path)
    assert (facts.width, facts.height, facts.media_type) == (4096, 4096, "image/jpeg")
    assert facts.decoded_pixels == 512 * 512
    assert load_image(path, max_pixels=512 * 512).shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (0, 255), (0, 0, 0)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("CMYK", (255, 0, 0, 0), (0, 255, 255)),
        ("I", 32768, (128, 128, 128)),
        ("I;16", 65535, (255, 255, 255)),
    ],
)
def test_modes_become_rgb_over_white(
    mode: str, color: int | tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    rgb = rgb_array(Image.new(mode, (30, 20), color))
    assert rgb.shape == (20, 30, 3)
    np.testing.assert_allclose(rgb[5, 5], expected, atol=1)


def test_deep_grey_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 300)[None, :].repeat(20, 0)
    for name, values in {"a.png": ramp * 65535, "b.tiff": ramp * 65535}.items():
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / name)
        rgb = load_image(tmp_path / name)
        np.testing.assert_allclose(rgb[..., 0], ramp * 255, atol=1)
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "c.tiff")
    np.testing.assert_allclose(load_image(tmp_path / "c.tiff")[..., 1], ramp * 255, atol=1)


def test_a_transparent_palette_is_laid_over_white(tmp_path: Path) -> None:
    image = Image.new("P", (40, 30), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(1, (0, 0, 20, 30))
    image.save(tmp_path / "a.png", transparency=0)
    rgb = load_image(tmp_path / "a.png")
    assert rgb[5, 5].tolist() == [255, 0, 0]
    assert rgb[5, 35].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("orientation", "corner"),
    list(enumerate([(0, 0), (0, -1), (-1, -1), (-1, 0)] * 2, start=1)),
)
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, corner: tuple[int, int]
) -> None:
    image = Image.new("RGB", (90, 60), "white")
    image.paste((200, 0, 0), (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    rgb, facts = load_image(tmp_path / "a.jpg"), image_facts(tmp_path / "a.jpg")
    assert rgb.shape[:2] == (facts.height, facts.width)
    assert (facts.height > facts.width) == (orientation >= 5)
    assert rgb[corner][1] < 60


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (50, 40), color) for color in ("red", "green", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        np.testing.assert_allclose(load_image(tmp_path / name)[10, 10], (255, 0, 0), atol=2)


def test_what_is_no_picture_is_corrupt() -> None:
    with pytest.raises(CorruptMediaError, match="<5 bytes> is not a picture in a known format"):
        load_image(b"hello")


def test_programs_are_not_started_for_postscript() -> None:
    with pytest.raises(CorruptMediaError):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_too_many_pixels_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    Image.new("L", (1000, 1000)).save(path)
    with pytest.raises(MediaLimitError, match=r"big\.png has 1,000,000 pixels; max_pixels is 999"):
        load_image(path, max_pixels=999)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(MediaError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(MediaError, match="cannot be read"):
        load_image("a\0b.png")
