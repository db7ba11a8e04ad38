import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from encoder.errors import CorruptMediaError, MediaLimitError, UnsupportedMediaError
from ingest import IngestConfig, Place, Segment, identify, picture, segments
from ingest.kinds import kind_of
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.html import html_text
from tests.support.media import write_pdf

CONFIG = IngestConfig()
SENTENCES = "".join(f"Sentence number {i} is about foxes. " for i in range(100))


def decode(path: Path, config: IngestConfig = CONFIG) -> list[Segment]:
    return list(segments(identify(path, config), config))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", SENTENCES.encode()),
        ("b.txt", SENTENCES.replace("foxes", "Füchse").encode("utf-16")),
        ("c.txt", SENTENCES.replace("foxes", "Füchse").encode("latin-1")),
        ("d.md", f"# Foxes\n\n{SENTENCES}\n\n## More\n\n- {SENTENCES}".encode()),
        ("e.html", f"<html><h1>Foxes</h1><p>{SENTENCES}</p>".encode()),
    ],
)
def test_offsets_lead_to_the_windows(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    asset = identify(tmp_path / name, CONFIG)
    found = list(segments(asset, CONFIG))
    data = read_bytes(tmp_path / name)
    text = html_text(data, name) if name.endswith("html") else decode_bytes(data)
    assert [segment.index for segment in found] == list(range(len(found)))
    assert len(found) >= 4
    for segment in found:
        assert segment.asset_id == asset.asset_id
        assert segment.modality == "text"
        assert segment.content == text[segment.char_start : segment.char_end]
        assert segment.snippet == segment.content
        assert len(segment.content) <= 800
        assert segment.start_s is None


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_windows_make_the_whole_again(tmp_path: Path, name: str) -> None:
    tag = "<p>" if name == "a.html" else ""
    (tmp_path / name).write_text(f"{tag}{SENTENCES}\n\n" * 3)
    asset = identify(tmp_path / name, CONFIG)
    whole = kind_of(asset.media_type).whole(decode(tmp_path / name))
    assert whole.split() == SENTENCES.split() * 3


def test_each_page_of_a_pdf_is_a_place_with_boxes(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", ["Foxes run.", "", "Dogs sleep."])
    first, last = decode(path)
    assert [first.content, last.content] == ["Foxes run.", "Dogs sleep."]
    assert [json.loads(s.place) for s in (first, last)] == [{"page": 1}, {"page": 3}]
    assert (first.index, last.index) == (0, 1)
    ((left, top, right, _, _, bottom, _, _),) = json.loads(last.boxes)
    # The text starts 20 points from the left and stands 100 from the bottom of 500 x 200.
    assert left == pytest.approx(0.04, abs=0.01)
    assert top < 0.5 < bottom < 0.55
    assert 0.1 < right < 0.25


def test_a_page_without_text_is_a_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "scan.pdf"
    Image.new("RGB", (200, 300), (200, 30, 30)).save(path)
    (segment,) = decode(path)
    assert (segment.modality, json.loads(segment.place)) == ("image", {"page": 1})
    assert segment.content.shape == (768, 512, 3)
    np.testing.assert_allclose(segment.content.mean(axis=(0, 1)), (200, 30, 30), atol=6)


@pytest.mark.parametrize("isolated", [True, False])
def test_the_picture_of_a_page(tmp_path: Path, *, isolated: bool) -> None:
    config = IngestConfig(isolate=isolated)
    asset = identify(write_pdf(tmp_path / "a.pdf", ["", "Foxes run."]), config)
    blank, written = (picture(asset, Place(page=n), config).content for n in (1, 2))
    assert blank.min() == 255
    assert written.min() < 100
    assert min(written.shape[:2]) == 512
    with pytest.raises(CorruptMediaError, match="has no page 3"):
        picture(asset, Place(page=3), config)


def test_pdfs_in_threads(tmp_path: Path) -> None:
    paths = [write_pdf(tmp_path / f"{i}.pdf", [f"Page {i} of foxes."] * 20) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        for i, found in enumerate(pool.map(decode, paths)):
            assert found[0].content.startswith(f"Page {i} of foxes.")


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.pdf"])
def test_a_file_without_text_says_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.pdf":
        write_pdf(path, ["", ""])
    else:
        path.write_text(" \n" if name == "a.txt" else "<html><img src=x></html>")
    with pytest.raises(UnsupportedMediaError, match=rf"{name} holds no text.*OCR"):
        decode(path)


def test_a_broken_pdf_is_corrupt(tmp_path: Path) -> None:
    whole = write_pdf(tmp_path / "a.pdf", ["Foxes"]).read_bytes()
    (tmp_path / "a.pdf").write_bytes(whole[:60])
    with pytest.raises(CorruptMediaError, match=r"a\.pdf cannot be decoded as PDF"):
        decode(tmp_path / "a.pdf")


def test_long_texts_are_refused(tmp_path: Path) -> None:
    config = IngestConfig(max_text_chars=100)
    (tmp_path / "a.txt").write_text("x" * 101)
    write_pdf(tmp_path / "b.pdf", ["y" * 60, "y" * 60])
    for name in ("a.txt", "b.pdf"):
        with pytest.raises(MediaLimitError, match="max_text_chars is 100 characters"):
            decode(tmp_path / name, config)


def test_a_text_of_too_many_windows_is_refused_before_any_is_encoded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SENTENCES)
    config = IngestConfig(max_text_windows=3)
    first = segments(identify(tmp_path / "a.txt", config), config)
    with pytest.raises(MediaLimitError, match="ANYMODAL_INGEST__MAX_TEXT_WINDOWS"):
        next(first)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.json", "a.html", "a.py"])
def test_a_long_text_without_words_is_refused(tmp_path: Path, name: str) -> None:
    tag = "<p>" if name == "a.html" else ""
    (tmp_path / name).write_text(tag + "[" * 100_000)
    with pytest.raises(UnsupportedMediaError, match=f"{name} holds no words"):
        decode(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["สวัสดี" * 500, "潮が満ちる。" * 500, "-" * 790, "=" * 900 + " Tide\n"]
)
def test_other_texts_have_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert decode(tmp_path / "a.txt")


def test_window_sizes_are_settings(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(SENTENCES)
    config = IngestConfig(text_window_chars=100, text_overlap_chars=0)
    found = decode(tmp_path / "a.txt", config)
    assert max(len(segment.content) for segment in found) <= 100
