"""Formats that few people have: pictures of old programs, fonts, arrays and empty templates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.errors import MediaError
from ingest import IngestConfig, Place, identify, picture, segments
from ingest.kinds import sniff
from tests.support.media import picture as made

CONFIG = IngestConfig(isolate=True)
DEEP = {
    "jp2": "RGB",
    "dds": "RGB",
    "qoi": "RGB",
    "pcx": "RGB",
    "sgi": "RGB",
    "ppm": "RGB",
    "dib": "RGB",
}
FLAT = {"pgm": "L", "pbm": "1", "xbm": "1"}
XPM = '/* XPM */\nstatic char *a[] = {\n"2 1 2 1",\n"a c #ff0000",\n"b c #0000ff",\n"ab"\n};\n'


def write_picture(folder: Path, suffix: str) -> Path:
    path = folder / f"a.{suffix}"
    Image.fromarray(made(60, 40)).convert({**DEEP, **FLAT}[suffix]).save(path)
    return path


def write_psd(folder: Path) -> Path:
    """One red pixel, without layers (Adobe Photoshop File Formats Specification)."""
    header = b"8BPS\0\1" + bytes(6) + b"\0\3" + b"\0\0\0\1" + b"\0\0\0\1" + b"\0\x08" + b"\0\3"
    (folder / "a.psd").write_bytes(header + bytes(12) + b"\0\0" + b"\xff\0\0")
    return folder / "a.psd"


@pytest.mark.parametrize("suffix", [*DEEP, *FLAT])
def test_pictures_of_old_programs_are_pictures(tmp_path: Path, suffix: str) -> None:
    path = write_picture(tmp_path, suffix)
    asset = identify(path, CONFIG)
    assert asset.modality == "image"
    (shown,) = segments(asset, CONFIG)
    with Image.open(path) as same:
        assert np.abs(shown.content - np.asarray(same.convert("RGB")).astype(int)).max() <= 1


def test_drawings_of_letters_and_photoshop_files_are_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.xpm").write_text(XPM)
    (shown,) = segments(identify(tmp_path / "a.xpm", CONFIG), CONFIG)
    assert shown.content.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    (shown,) = segments(identify(write_psd(tmp_path), CONFIG), CONFIG)
    assert shown.content.tolist() == [[[255, 0, 0]]]
    page = write_picture(tmp_path, "pcx").read_bytes()  # a fax has several
    (tmp_path / "a.dcx").write_bytes(b"\xb1\x68\xde\x3a\0\4\0\0" + bytes(1016) + page)
    (shown,) = segments(identify(tmp_path / "a.dcx", CONFIG), CONFIG)
    assert shown.content.shape == (40, 60, 3)


@pytest.mark.parametrize("compression", [None, "tga_rle"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_targa(tmp_path: Path, mode: str, compression: str | None) -> None:
    Image.fromarray(made(90, 60)).convert(mode).save(tmp_path / "a.tga", compression=compression)
    (found,) = segments(identify(tmp_path / "a.tga", CONFIG), CONFIG)
    assert found.content.shape == (60, 90, 3)


@pytest.mark.parametrize("text", ["P6 is a processor.", "#define width 3", "/* XP */", "DDS | SSD"])
def test_notes_that_begin_alike_stay_text(text: str) -> None:
    assert sniff(text.encode(), "a")[0].media_type == "text/plain"


SVG_CONFIG = IngestConfig(isolate=True, image_short_side=64)
HEAD = "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' "
DRAWING = (
    "<?xml version='1.0'?>\n<!-- by hand -->\n"
    + HEAD
    + "width='20mm' height='10mm' viewBox='0 0 200 100'><title>Harbour</title>"
    "<rect width='100' height='100' fill='#ff0000'/><text x='120' y='50'>Sea <tspan>Wolf</tspan>"
    "</text></svg>"
)


def write(folder: Path, text: str) -> Path:
    (folder / "a.svg").write_text(text)
    return folder / "a.svg"


def test_a_drawing_is_a_picture_and_its_words(tmp_path: Path) -> None:
    asset = identify(write(tmp_path, DRAWING), SVG_CONFIG)
    assert (asset.modality, asset.media_type) == ("image", "image/svg+xml")
    facts = asset.metadata
    assert (facts["title"], facts["width"], facts["height"]) == ("Harbour", 76, 38)
    drawn, words = segments(asset, SVG_CONFIG)
    assert drawn.content.shape == (64, 128, 3)
    assert drawn.content[32, 10].tolist() == [255, 0, 0]
    assert drawn.content[5, 120].tolist() == [255, 255, 255]
    assert words.content == "Harbour\nSea Wolf"
    assert np.array_equal(picture(asset, Place(), SVG_CONFIG).content, drawn.content)


@pytest.mark.parametrize("size", ["width='90000' height='90000'", "viewBox='0 0 1 99999'", ""])
def test_any_size_is_drawn_small(tmp_path: Path, size: str) -> None:
    path = write(tmp_path, f"{HEAD}{size}><rect width='9' height='9'/></svg>")
    drawn = next(segments(identify(path, SVG_CONFIG), SVG_CONFIG)).content
    assert min(drawn.shape[:2]) <= 64
    assert max(drawn.shape[:2]) <= 512


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["href", "xlink:href"])
def test_files_beside_it_are_not_read(tmp_path: Path, attribute: str) -> None:
    Image.new("RGB", (50, 50), (255, 0, 0)).save(tmp_path / "red.png")
    for name in (str(tmp_path / "red.png"), f"file://{tmp_path}/red.png", "red.png"):
        image = f"<image {attribute}='{name}' width='50' height='50'/>"
        path = write(tmp_path, f"{HEAD}width='50' height='50'>{image}</svg>")
        assert next(segments(identify(path, SVG_CONFIG), SVG_CONFIG)).content.min() == 255


@pytest.mark.slow
def test_what_grows_without_end_is_refused(tmp_path: Path) -> None:
    groups = "".join(
        f"<g id='a{n}'>" + f"<use href='#a{n - 1}'/>" * 10 + "</g>" for n in range(1, 9)
    )
    path = write(tmp_path, f"{HEAD}width='9' height='9'><g id='a0'><rect/></g>{groups}</svg>")
    with pytest.raises(MediaError, match="cannot be decoded as SVG"):
        list(segments(identify(path, SVG_CONFIG), SVG_CONFIG))
