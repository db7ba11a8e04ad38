"""What is read in pictures and films, on its way into a store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from encoder import MultiModalEncoder
from encoder.errors import ModelError
from encoder.services.reader import LazyReader
from encoder.types import TEXT
from ingest import IngestConfig
from search.store.memory import MemoryStore
from search.types import SegmentRow
from tests.support.media import picture, write_slides
from workers.pipeline.ingest_job import IngestJob

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(bundle_home: Path, ocr_folder: Path) -> MultiModalEncoder:
    """The English bundle, with a reader of text in pictures."""
    assert bundle_home.is_dir()
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    encoder.services = replace(encoder.services, reader=LazyReader(ocr_folder, 1))
    return encoder


def slide(text: str, size: tuple[int, int] = (960, 720), px: int = 32) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((80, 80), text, fill="black", font=ImageFont.load_default(px))
    return image


def ingest(
    encoder: MultiModalEncoder, path: Path, **options: bool
) -> tuple[MemoryStore, list[SegmentRow]]:
    """The store after an ingest, and its rows of text."""
    store = MemoryStore(encoder.embed_dim)
    report = IngestJob(encoder, store, IngestConfig(text_window_chars=60), **options).run(
        [str(path)]
    )
    assert report.failures == []
    rows = [row for row in store._segments.values() if row.modality == TEXT]
    return store, sorted(rows, key=lambda row: row.index)


def test_a_picture_gets_a_text_of_what_is_written_in_it(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    slide("Closed on Mondays").save(tmp_path / "door.png")
    store, (row,) = ingest(encoder, tmp_path / "door.png")
    assert row.snippet == "Closed on Mondays"
    assert row.confidence > 0.9
    ((left, top, right, _, _, bottom, *_),) = json.loads(row.boxes)
    assert (left, top) == pytest.approx((80 / 960, 80 / 720), abs=0.02)
    assert 0.3 < right < 0.5
    assert bottom - top < 0.1
    assert encoder.encode_multimodal(text="when is it shut?").text @ row.embedding > 0.2
    (asset,) = store.scan()
    assert (asset.modality, asset.n_segments) == ("image", 2)


def test_letters_are_read_that_a_tower_would_not_see(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    slide("The meeting begins at nine", (2400, 1500), 22).save(tmp_path / "screen.png")
    _, rows = ingest(encoder, tmp_path / "screen.png")
    assert [row.snippet for row in rows] == ["The meeting begins at nine"]


def test_the_scanned_pages_of_a_pdf_are_read(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    first, second = slide("Chapter One", (1240, 1754)), slide("The end of it", (1240, 1754), 22)
    first.save(tmp_path / "scan.pdf", save_all=True, append_images=[second])
    _, rows = ingest(encoder, tmp_path / "scan.pdf")
    assert [row.snippet for row in rows] == ["Chapter One", "The end of it"]
    assert [json.loads(row.place) for row in rows] == [{"page": 1}, {"page": 2}]


def test_long_texts_are_cut_as_other_texts_are(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    lines = [f"Line {n} says nothing of interest" for n in ("one", "two", "three", "four")]
    slide("\n\n".join(lines)).save(tmp_path / "page.png")
    _, rows = ingest(encoder, tmp_path / "page.png")
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert [row.snippet for row in rows] == lines


def test_frames_that_show_the_same_text_are_one_passage(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    plain = Image.fromarray(picture(960, 720))
    film = write_slides(
        tmp_path / "film.mp4",
        [
            slide("First the weather"),
            slide("First the weather "),
            plain,
            slide("And now the sports"),
        ],
    )
    _, rows = ingest(encoder, film)
    assert [row.snippet for row in rows] == ["First the weather", "And now the sports"]
    assert [(row.start_s, row.end_s) for row in rows] == [
        (0.0, pytest.approx(8, abs=1)),
        (pytest.approx(12, abs=1), pytest.approx(16, abs=1)),
    ]


def test_pictures_are_not_read_where_it_is_switched_off(
    encoder: MultiModalEncoder, tmp_path: Path
) -> None:
    slide("Closed on Mondays").save(tmp_path / "door.png")
    assert ingest(encoder, tmp_path / "door.png", read_pictures=False)[1] == []


def test_a_model_that_does_not_read_says_so(bundle_home: Path) -> None:
    assert bundle_home.is_dir()
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    assert encoder.services.reader is None
    with pytest.raises(ModelError, match="no reader"):
        encoder.services.read(picture())


def test_a_picture_in_a_presentation_is_read(encoder: MultiModalEncoder, tmp_path: Path) -> None:
    from pptx import Presentation

    slide("Ferry to Oslo at nine").save(tmp_path / "a.png")
    slides = Presentation()
    page = slides.slides.add_slide(slides.slide_layouts[6])
    page.shapes.add_picture(str(tmp_path / "a.png"), 0, 0)
    slides.save(str(tmp_path / "a.pptx"))
    _, (row,) = ingest(encoder, tmp_path / "a.pptx")
    assert "Ferry to Oslo" in row.snippet
    assert json.loads(row.place) == {"slide": 1, "picture": 1}
