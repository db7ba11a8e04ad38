import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import (
    CorruptMediaError,
    MediaError,
    MediaLimitError,
    UnsupportedMediaError,
)
from ingest import IngestConfig, identify
from tests.support.media import picture, streamless_mp4, tone, write_film, write_pdf, write_sound

CONFIG = IngestConfig()


def test_the_same_content_is_the_same_asset(tmp_path: Path) -> None:
    for name, text in {"a.txt": "one", "b.md": "one", "c.txt": "two"}.items():
        (tmp_path / name).write_text(text)
    a, b, c = (identify(tmp_path / name, CONFIG) for name in ("a.txt", "b.md", "c.txt"))
    assert a.asset_id == b.asset_id != c.asset_id
    assert len(a.asset_id) == 32
    assert a.uri == str(tmp_path / "a.txt")
    assert (a.size_bytes, a.modality, a.media_type) == (3, "text", "text/plain")
    assert b.media_type == "text/markdown"


@pytest.mark.parametrize(
    ("name", "modality", "media_type"),
    [
        ("a.jpg", "image", "image/jpeg"),
        ("a.png", "image", "image/png"),
        ("a.webp", "image", "image/webp"),
        ("a.gif", "image", "image/gif"),
        ("a.bmp", "image", "image/bmp"),
        ("a.tiff", "image", "image/tiff"),
        ("a.wav", "audio", "audio/wav"),
        ("a.flac", "audio", "audio/flac"),
        ("a.mp3", "audio", "audio/mpeg"),
        ("a.ogg", "audio", "audio/ogg"),
        ("a.m4a", "audio", "audio/mp4"),
        ("a.opus", "audio", "audio/ogg"),
        ("a.mp4", "video", "video/mp4"),
        ("a.mkv", "video", "video/x-matroska"),
        ("a.webm", "video", "video/webm"),
        ("a.mov", "video", "video/quicktime"),
        ("a.pdf", "text", "application/pdf"),
    ],
)
def test_kinds_are_detected_by_content(
    tmp_path: Path, name: str, modality: str, media_type: str
) -> None:
    write(tmp_path / name)
    wrong = (tmp_path / name).rename(tmp_path / "named.txt")
    asset = identify(wrong, CONFIG)
    assert (asset.modality, asset.media_type) == (modality, media_type)
    assert asset.metadata["title"] == "named"
    assert asset.metadata["modified"] == pytest.approx(wrong.stat().st_mtime, abs=0.001)
    if modality in ("audio", "video"):
        assert asset.metadata["duration_s"] == pytest.approx(2, abs=0.2)
    if modality in ("image", "video"):
        assert (asset.metadata["width"], asset.metadata["height"]) == (320, 240)


def write(path: Path) -> None:
    suffix = path.suffix
    if suffix in (".jpg", ".png", ".webp", ".gif", ".bmp", ".tiff"):
        Image.fromarray(picture(320, 240)).save(path)
    elif suffix in (".wav", ".flac", ".mp3", ".ogg"):
        soundfile.write(path, tone(2), 44_100)
    elif suffix in (".m4a", ".opus"):
        write_sound(path, "aac" if suffix == ".m4a" else "libopus", 2)
    elif suffix == ".pdf":
        write_pdf(path, ["Hello", "again"])
    elif suffix == ".webm":
        write_film(path, "libvpx-vp9", "libopus", 2)
    else:
        write_film(path, seconds=2)


def test_an_mp4_or_webm_without_pictures_is_sound(tmp_path: Path) -> None:
    assert identify(write_sound(tmp_path / "a.mp4", "aac"), CONFIG).media_type == "audio/mp4"
    assert identify(write_sound(tmp_path / "a.webm", "libopus"), CONFIG).modality == "audio"


def test_a_link_is_followed_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "link").symlink_to("a.txt")
    assert identify(tmp_path / "link", CONFIG).uri == str(tmp_path / "a.txt")


def test_anything_but_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        "missing": "No such file",
        "broken": "No such file",
        "circle": "cannot be read",
        "pipe": "named pipe",
        "folder": "is a folder",
    }.items():
        with pytest.raises(MediaError, match=rf"{name}.*{reason}|{reason}"):
            identify(tmp_path / name, CONFIG)
    with pytest.raises(MediaError, match="character device"):
        identify(Path("/dev/zero"), CONFIG)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("x")
    with pytest.raises(MediaError, match="not valid UTF-8"):
        identify(path, CONFIG)


def test_empty_and_unknown_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero.jpg").write_bytes(b"")
    with pytest.raises(CorruptMediaError, match=r"zero\.jpg is empty"):
        identify(tmp_path / "zero.jpg", CONFIG)
    (tmp_path / "random.mp3").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(UnsupportedMediaError, match=r"random\.mp3 is of a kind that is not"):
        identify(tmp_path / "random.mp3", CONFIG)


def test_headers_without_a_body_are_corrupt(tmp_path: Path) -> None:
    for name, data in {
        "a.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
        "a.jpg": b"\xff\xd8\xff\xe0" + bytes(40),
        "a.wav": b"RIFF\x24\0\0\0WAVE",
        "a.mp4": streamless_mp4(),
        "a.mkv": b"\x1aE\xdf\xa3\x93B\x82\x88matroska" + bytes(40),
        "a.pdf": b"%PDF-1.4\nnothing",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorruptMediaError, match=name):
            identify(tmp_path / name, CONFIG)


@pytest.mark.parametrize(
    ("name", "limit", "value"),
    [
        ("a.pdf", "max_text_bytes", 9),
        ("a.pdf", "max_pdf_pages", 1),
        ("a.png", "max_image_bytes", 9),
        ("a.png", "max_pixels", 99),
        ("a.wav", "max_media_bytes", 9),
        ("a.wav", "max_duration_s", 1),
        ("a.mp4", "max_duration_s", 1),
        ("a.mp4", "max_pixels", 99),
        ("a.mkv", "max_streams", 1),
    ],
)
def test_limits_are_checked_on_the_header(
    tmp_path: Path, name: str, limit: str, value: int
) -> None:
    write(tmp_path / name)
    with pytest.raises(MediaLimitError, match=rf"{name} has .*{limit}"):
        identify(tmp_path / name, IngestConfig(**{limit: value}))


def test_titles_come_from_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<!doctype html><title> On \n foxes &amp; dogs</title><p>x")
    (tmp_path / "b.html").write_text("<html><body><h1>Only <i>this</i></h1>")
    (tmp_path / "c.html").write_text("<html><body>nothing")
    write_pdf(tmp_path / "d.pdf", ["Hello"], title="On dogs")
    titles = [identify(path, CONFIG).metadata["title"] for path in sorted(tmp_path.iterdir())]
    assert titles == ["On foxes & dogs", "Only this", "c", "On dogs"]
