"""What a file is, by its content."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from ingest import IngestConfig, identify
from ingest.kinds import HEAD_BYTES, sniff
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


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"Hello", "text/plain"),
        ("Grüße, 猫".encode(), "text/plain"),
        ("Café déjà vu".encode("latin-1"), "text/plain"),
        ("Café".encode("utf-16"), "text/plain"),
        ("Café".encode("utf-8-sig"), "text/plain"),
        (b"BMW builds cars", "text/plain"),
        ("BMW fährt".encode("latin-1"), "text/plain"),
        (b"ID3 tags are in songs", "text/plain"),
        (b"RIFF raff", "text/plain"),
        (b"GIF8 is not a word", "text/plain"),
        (b"a,b\n1,2\n", "text/plain"),
        (b'{"a": 1}', "application/json"),
        (b"<p>is a tag", "text/html"),
        (b"<div class='a'>", "text/html"),
        (b"<pope> is no tag", "text/plain"),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>", "text/html"),
        (b"<!DOCTYPE html><p>x", "text/html"),
        (b"\n\n <!-- hello --> <HTML lang=en>", "text/html"),
        ("<html><p>x".encode("utf-16"), "text/html"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"junk\n%PDF-1.4\n%\xe2\xe3", "application/pdf"),
    ],
)
def test_text(head: bytes, media_type: str) -> None:
    kind, found, _ = sniff(head, "name.png")[0]
    assert (found, kind.modality) == (media_type, TEXT)


def test_only_markdown_is_detected_by_name() -> None:
    assert sniff(b"# Title", "a.MD")[0].media_type == "text/markdown"
    assert sniff(b"<html>", "a.md")[0].media_type == "text/html"


def test_a_character_cut_at_the_end_of_the_head_is_text() -> None:
    text = ("x" * (HEAD_BYTES - 1) + "ü").encode()[:HEAD_BYTES]
    assert sniff(text, "a")[0].media_type == "text/plain"


@pytest.mark.parametrize(
    ("head", "media_type", "modality"),
    [
        (b"MM\0*\0\0\0\x08", "image/tiff", IMAGE),
        (b"\xff\xfb\x90\xc4\0\0", "audio/mpeg", None),
        (b"\xff\xf3\x80\xc4\0\0", "audio/mpeg", None),
        (bytes(417) + b"\xff\xfb\x90\xc4\0\0", "audio/mpeg", None),
        (bytes(2048) + b"PCD_IPI", "image/x-photo-cd", IMAGE),
        (b"\xff\xe3\x48\xc4\0\0", "audio/mpeg", None),
        (b"\xff\xf1\x50\x80\0\x1f", "audio/aac", None),
        (b"\0\0\0\x14ftypqt  \0\0\x02\0qt  \0\0\0\x08wide", "video/quicktime", None),
        (b"RIFF\x24\0\0\0AVI LIST\0\0", "video/avi", None),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic", IMAGE),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heix", "image/heic", IMAGE),
        (b"\0\0\0\x18ftypheim\0\0\0\0mif1heim", "image/heic", IMAGE),
        (b"\0\0\0\x18ftypheis\0\0\0\0mif1heis", "image/heic", IMAGE),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic", IMAGE),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "image/avif", IMAGE),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "image/heif", IMAGE),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "image/avif", IMAGE),
        (b"\0\0\0\x18ftyphevc\0\0\0\0msf1hevc", "image/heic", None),
        (b"\0\0\0\x18ftyphevx\0\0\0\0msf1hevx", "image/heic", None),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0hevciso8", "image/heic", None),
        (b"\0\0\0\x18ftypavis\0\0\0\0msf1avis", "image/avif", None),
        (b"\0\0\0\x18ftypqt  \0\0\0\0heicmif1", "video/quicktime", None),
        (b"G\x40\x11\x10" + bytes(184) + b"G" + bytes(187) + b"G" + bytes(187), "video/mp2t", None),
    ],
)
def test_media(head: bytes, media_type: str, modality: Modality | None) -> None:
    candidates = sniff(head, "name.txt")
    subtype = media_type.partition("/")[2]
    found = [(kind.modality, name) for kind, name, _ in candidates]
    if modality is None:  # the file's header decides
        still = IMAGE if media_type.startswith("image/") else AUDIO
        assert found[:2] == [(VIDEO, f"video/{subtype}"), (still, f"{still}/{subtype}")]
    else:
        assert found[0] == (modality, media_type)


@pytest.mark.parametrize("kind", [b"webm", b"matroska"])
def test_matroska_and_webm(kind: bytes) -> None:
    head = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82"
    media_type = sniff(head + bytes([0x80 + len(kind)]) + kind + b"\0", "a")[0].media_type
    assert media_type == ("video/webm" if kind == b"webm" else "video/x-matroska")


@pytest.mark.parametrize(
    "head",
    [
        bytes(100),
        np.random.default_rng(0).bytes(4000),
    ],
)
def test_other_kinds_are_refused_with_a_short_reason(head: bytes) -> None:
    with pytest.raises(UnsupportedMediaError, match=r"a\.jpg is of a kind .* supported") as caught:
        sniff(head, "a.jpg")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"<?xml version='1.0'?>" + b"<!-- a -->" * 700 + b"<sheet>", "application/xml"),
        (b"<?xml version='1.0'?>" + b"<?a ?>" * 1200 + b"<sheet>", "application/xml"),
        (b"<!DOCTYPE a []>" * 500 + b"<sheet", "text/plain"),
        (b"#!" + b"/" * 8000 + b"!", "text/plain"),
    ],
)
def test_no_beginning_is_matched_in_many_ways(head: bytes, media_type: str) -> None:
    """Twenty comments before the first element once took minutes, and each more doubled that."""
    assert sniff(head, "a")[0].media_type == media_type


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(40), "a program"),
        (b"%!PS-Adobe-3.0", "PostScript"),
        (b"#EXTM3U\nhttp://example.com/a.ts", "a playlist"),
        (b"gimp xcf v011" + bytes(20), "a GIMP picture"),
        (b"BLENDER-v405" + bytes(20), "a Blender scene"),
        (b"AC1032\0\0\0", "an AutoCAD drawing"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\1\0", "a RAR archive"),
        (b"SQLite format 3\0\x10", "an SQLite database"),
        (bytes(128) + b"DICM", "a DICOM picture"),
        (b"<stata_dta><header>" + bytes(8), "a Stata table"),
        (b"SR\0\4" + bytes(20), "an IDL file"),
    ],
)
def test_what_is_not_read_says_what_it_is(head: bytes, what: str) -> None:
    with pytest.raises(
        UnsupportedMediaError, match=f"a.jpg is {what}, which is not supported"
    ) as caught:
        sniff(head, "a.jpg")
    assert caught.value.remedy
