import numpy as np
import pytest

from encoder.errors import UnsupportedMediaError
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from ingest.kinds import HEAD_BYTES, sniff


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
