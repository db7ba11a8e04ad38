"""Drawings: what they show and say, and what they may not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder.errors import MediaError
from ingest import IngestConfig, Place, identify, picture, segments

CONFIG = IngestConfig(isolate=True, image_short_side=64)
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
    asset = identify(write(tmp_path, DRAWING), CONFIG)
    assert (asset.modality, asset.media_type) == ("image", "image/svg+xml")
    facts = asset.metadata
    assert (facts["title"], facts["width"], facts["height"]) == ("Harbour", 76, 38)
    drawn, words = segments(asset, CONFIG)
    assert drawn.content.shape == (64, 128, 3)
    assert drawn.content[32, 10].tolist() == [255, 0, 0]
    assert drawn.content[5, 120].tolist() == [255, 255, 255]
    assert words.content == "Harbour\nSea Wolf"
    assert np.array_equal(picture(asset, Place(), CONFIG).content, drawn.content)


@pytest.mark.parametrize("size", ["width='90000' height='90000'", "viewBox='0 0 1 99999'", ""])
def test_any_size_is_drawn_small(tmp_path: Path, size: str) -> None:
    path = write(tmp_path, f"{HEAD}{size}><rect width='9' height='9'/></svg>")
    drawn = next(segments(identify(path, CONFIG), CONFIG)).content
    assert min(drawn.shape[:2]) <= 64
    assert max(drawn.shape[:2]) <= 512


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["href", "xlink:href"])
def test_files_beside_it_are_not_read(tmp_path: Path, attribute: str) -> None:
    Image.new("RGB", (50, 50), (255, 0, 0)).save(tmp_path / "red.png")
    for name in (str(tmp_path / "red.png"), f"file://{tmp_path}/red.png", "red.png"):
        image = f"<image {attribute}='{name}' width='50' height='50'/>"
        path = write(tmp_path, f"{HEAD}width='50' height='50'>{image}</svg>")
        assert next(segments(identify(path, CONFIG), CONFIG)).content.min() == 255


@pytest.mark.slow
def test_what_grows_without_end_is_refused(tmp_path: Path) -> None:
    groups = "".join(
        f"<g id='a{n}'>" + f"<use href='#a{n - 1}'/>" * 10 + "</g>" for n in range(1, 9)
    )
    path = write(tmp_path, f"{HEAD}width='9' height='9'><g id='a0'><rect/></g>{groups}</svg>")
    with pytest.raises(MediaError, match="cannot be decoded as SVG"):
        list(segments(identify(path, CONFIG), CONFIG))
