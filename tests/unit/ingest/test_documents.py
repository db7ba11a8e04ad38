"""Documents of office programs, books, mails, notebooks and subtitles, and where hits are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from encoder.errors import CorruptMediaError, MediaError, UnsupportedMediaError
from ingest import IngestConfig, Segment, identify, segments
from ingest.kinds.documents import title_of
from tests.support import documents

CONFIG = IngestConfig(isolate=True)
SECTIONS = [
    ("Ferries", "The ferry leaves at nine. Grüße aus dem Hafen."),
    ("Wale 鲸鱼", "Whales were seen near the island, 码头在城市的东边。"),
]
PLACES = {
    "docx": (documents.write_docx, [{"heading": "Ferries"}, {"heading": "Wale 鲸鱼"}]),
    "pptx": (documents.write_pptx, [{"slide": 1}, {"slide": 2}]),
    "odp": (documents.write_odf, [{"slide": 1}, {"slide": 2}]),
    "xlsx": (documents.write_xlsx, [{"sheet": "Ferries"}, {"sheet": "Wale 鲸鱼"}]),
    "ods": (documents.write_odf, [{"sheet": "Ferries"}, {"sheet": "Wale 鲸鱼"}]),
    "ipynb": (documents.write_notebook, [{"cell": 1}, {"cell": 2}, {"cell": 3}]),
}


def decode(path: Path) -> list[Segment]:
    return list(segments(identify(path, CONFIG), CONFIG))


@pytest.mark.parametrize("suffix", PLACES)
def test_each_section_is_read_at_its_place(tmp_path: Path, suffix: str) -> None:
    write, places = PLACES[suffix]
    found = decode(write(tmp_path / f"a.{suffix}", SECTIONS))
    assert [json.loads(segment.place) for segment in found] == places
    text = "\n".join(segment.content for segment in found)
    assert all(words in text for _, words in SECTIONS)


def test_lines_of_subtitles_have_times(tmp_path: Path) -> None:
    for name in ("a.srt", "a.vtt"):
        asset = identify(documents.write_subtitles(tmp_path / name, SECTIONS), CONFIG)
        assert asset.metadata["duration_s"] == 15
        (segment,) = segments(asset, CONFIG)
        assert (segment.start_s, segment.end_s) == (0, 15)
    long = documents.write_subtitles(
        tmp_path / "b.srt", [("", f"line {n} " * 60) for n in range(4)]
    )
    assert [segment.start_s for segment in decode(long)] == [0, 10, 20, 30]


def test_titles(tmp_path: Path) -> None:
    path = documents.write_docx(tmp_path / "report.docx", SECTIONS, "The harbour")
    assert identify(path, CONFIG).metadata["title"] == "The harbour"
    path = documents.write_docx(tmp_path / "report.docx", SECTIONS, "Document1")
    assert identify(path, CONFIG).metadata["title"] == "report"
    assert identify(documents.write_mail(tmp_path / "a.eml", SECTIONS), CONFIG).metadata[
        "title"
    ] == ("Ferries")


@pytest.mark.parametrize(
    "title",
    [
        "",
        " ",
        "untitled",
        "Microsoft Word - Dokument1.doc",
        "PowerPoint Presentation",
        "无标题",
        "report.docx",
    ],
)
def test_titles_that_say_nothing(title: str) -> None:
    assert title_of(title, "stem") == "stem"


def test_a_damaged_document_says_so(tmp_path: Path) -> None:
    path = documents.write_docx(tmp_path / "a.docx", SECTIONS)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CorruptMediaError, match="damaged ZIP file"):
        identify(path, CONFIG)


@pytest.mark.parametrize(
    "text",
    [
        "From: Kiel\nTo: Oslo\nThe ferry leaves at nine.",
        "From: Kiel\n\nThe ferry leaves at nine.",
        "From a@b.c Thu Jan\nFrom: a@b.c\nDate: x\n\nOne.\n\nFrom d@e.f Thu Jan\nDate: y\n\nTwo.",
        "Note: the date and the sender stand below.\nFrom Kiel, in May.",
    ],
)
def test_a_note_is_not_a_mail(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert identify(tmp_path / "a.txt", CONFIG).media_type == "text/plain"
    assert [segment.content for segment in decode(tmp_path / "a.txt")] == [text]


def test_other_archives_are_no_documents(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("b.txt", "Foxes.")
    assert identify(tmp_path / "a.zip", CONFIG).media_type == "application/zip"


@pytest.mark.slow
def test_a_bomb_costs_one_file(tmp_path: Path) -> None:
    path = tmp_path / "bomb.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(2**20))
    with pytest.raises(MediaError):
        decode(path)


def test_an_encrypted_document_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le")
    )
    with pytest.raises(UnsupportedMediaError, match="is an encrypted document"):
        identify(path, CONFIG)
    locked = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n3 0 obj<</Filter/Standard/V 1/R 2/P -4"
        b"/O<" + b"11" * 32 + b">/U<" + b"22" * 32 + b">>>endobj\n"
        b"trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>\n%%EOF"
    )
    (tmp_path / "a.pdf").write_bytes(locked)
    with pytest.raises(UnsupportedMediaError, match="is an encrypted PDF"):
        identify(tmp_path / "a.pdf", CONFIG)


def test_a_template_is_read_like_a_document(tmp_path: Path) -> None:
    asset = identify(documents.write_odf(tmp_path / "a.ott", SECTIONS), CONFIG)
    assert asset.media_type == "application/vnd.oasis.opendocument.text-template"
    assert SECTIONS[0][1] in "".join(segment.content for segment in segments(asset, CONFIG))


def test_a_far_cell_costs_nothing(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    far = book.active  # a dense table of it would have 17 billion cells
    far.title = "a_b <c>"
    far["A1"], far["XFD1048576"] = "first", "last"
    book.save(tmp_path / "a.xlsx")
    sheets = [segment for segment in decode(tmp_path / "a.xlsx") if segment.place]
    assert {json.loads(sheet.place)["sheet"] for sheet in sheets} == {"a_b <c>"}
    assert "first" in "".join(sheet.content for sheet in sheets)
