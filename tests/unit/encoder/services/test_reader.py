"""PP-OCR on pages that are drawn here with Pillow's own font."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from encoder.services.reader import LazyReader, Reader, ReadingLimits, open_reader

LINES = ("The ferry to the islands", "leaves at half past nine", "from the northern pier.")


def page(
    size: tuple[int, int] = (640, 400), px: int = 24, lines: tuple[str, ...] = LINES
) -> Image.Image:
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((60, 60 + row * px * 2), line, fill="black", font=ImageFont.load_default(px))
    return image


def blobs(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def reader(ocr_folder: Path) -> Reader:
    return open_reader(ocr_folder, n_threads=1)


def test_lines_are_read_in_order_with_their_places(reader: Reader) -> None:
    found = reader.read(np.asarray(page()))
    assert tuple(line.text for line in found) == LINES
    assert all(line.confidence > 0.9 for line in found)
    (left, top), (right, _), (_, bottom), _ = found[1].box
    assert (left, top) == pytest.approx((60, 110), abs=12)
    assert right - left == pytest.approx(ImageFont.load_default(24).getlength(LINES[1]), abs=20)
    assert 20 < bottom - top < 60


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [90, 180, 270, 4])
def test_turned_pages_are_read_too(reader: Reader, degrees: int) -> None:
    turned = page().rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert [line.text for line in reader.read(np.asarray(turned))] == list(LINES)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [5, -5])
def test_wide_pages_that_slope_are_read_in_order(reader: Reader, degrees: int) -> None:
    lines = tuple(" ".join([line, *LINES[:2]]) for line in LINES)
    sloping = page((1100, 400), 20, lines).rotate(
        degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white"
    )
    found = [line.text.split()[:3] for line in reader.read(np.asarray(sloping))]
    assert found == [line.split()[:3] for line in LINES]


class AlwaysOver:
    """A classifier that takes every line for upside down, as PP-OCR's does some dark screens."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [np.tile(np.float32([0.0, 1.0]), (len(inputs["x"]), 1))]


@pytest.mark.slow
def test_a_page_is_turned_over_only_if_it_reads_better_so(reader: Reader) -> None:
    mistaken = Reader(reader._detector, reader._recognizer, AlwaysOver(), reader._characters)
    assert [line.text for line in mistaken.read(np.asarray(page()))] == list(LINES)
    over = page().rotate(180)
    assert [line.text for line in mistaken.read(np.asarray(over))] == list(LINES)


def test_dots_on_letters_are_read(reader: Reader) -> None:
    text = "Während in den Städten die Züge fuhren,"
    plain = text.translate(str.maketrans("äü", "au"))  # Pillow's own font has no umlauts
    image, font = page((640, 160), 18, (plain,)), ImageFont.load_default(18)
    draw = ImageDraw.Draw(image)
    y = 60 + font.getbbox("x")[1] - 3
    for at in (place for place, letter in enumerate(text) if letter in "äü"):
        for share in (0.3, 0.7):
            x = 60 + font.getlength(plain[:at]) + share * font.getlength(plain[at])
            draw.rectangle((round(x - 1), round(y - 1), round(x + 0.8), round(y + 0.8)), "black")
    assert [line.text for line in reader.read(np.asarray(image))] == [text]


def test_small_letters_on_a_large_page_are_read(reader: Reader) -> None:
    small = page((1920, 1080), 14, ("A short notice on a large screen.",))
    (line,) = reader.read(np.asarray(small))
    assert line.text.replace(" ", "") == "Ashortnoticeonalargescreen."


def test_pictures_without_text_are_passed_over(reader: Reader) -> None:
    for picture in (blobs(), blobs(33, 700), np.zeros((20, 20, 3), np.uint8)):
        assert reader.look(picture) == []
        assert reader.read(picture) == []


def test_text_on_a_photo_is_found(reader: Reader) -> None:
    photo = Image.fromarray(blobs())
    ImageDraw.Draw(photo).text((200, 220), "BAKERY", fill="white", font=ImageFont.load_default(48))
    assert [line.text for line in reader.read(np.asarray(photo))] == ["BAKERY"]


def test_what_was_seen_in_a_copy_is_legible_in_the_photo_or_nowhere(reader: Reader) -> None:
    photo = Image.fromarray(blobs(1280, 960))
    ImageDraw.Draw(photo).text((400, 440), "BAKERY", fill="white", font=ImageFont.load_default(96))
    seen = reader.look(np.asarray(photo.resize((640, 480))))
    (corners,) = seen
    assert corners.min(axis=0) == pytest.approx((400 / 1280, 440 / 960), abs=0.05)
    assert reader.confirms(np.asarray(photo), seen)
    assert not reader.confirms(blobs(1280, 960), seen)


def test_limits_hold(ocr_folder: Path) -> None:
    few = open_reader(ocr_folder, 1, ReadingLimits(max_lines=2))
    assert len(few.read(np.asarray(page()))) == 2
    narrow = open_reader(ocr_folder, 1, ReadingLimits(max_width=700))
    assert [line.text for line in narrow.read(np.asarray(page()))] == [LINES[0]]


def test_a_reader_loads_on_first_use(tmp_path: Path, ocr_folder: Path) -> None:
    folder = tmp_path / "ocr"
    reader = LazyReader(folder, 1)
    folder.symlink_to(ocr_folder)
    assert reader.look(np.asarray(page()))
    assert [line.text for line in reader.read(np.asarray(page()))] == list(LINES)
