"""Documents of office programs, books, mails, notebooks and subtitles, and where hits are."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


PEOPLE = "name,town,boat\n" + "".join(f"Ann {n},Kiel,ferry of line {n}\n" for n in range(60))
MBOX = "".join(
    f"From {who}@x.org Thu Jan  1 10:00:00 2026\nFrom: {who}@x.org\nSubject: {subject}\n"
    f"Date: Thu, 1 Jan 2026 10:00:00 +0000\n\n{text}\n\n"
    for who, subject, text in (("ann", "Ferries", "It leaves at nine."), ("bob", "Wale", "Grüße."))
)
XML = (
    "<?xml version='1.0'?><catalog xmlns='urn:x'><book id='1'><title>Harbour</title>"
    "<about>It is <b>very</b> long.</about></book></catalog>"
)
CODE = "#!/usr/bin/env python3\n" + "".join(
    f"\n\ndef leave_{n}(ferry):\n" + f"    ferry.go({n})\n" * 10 for n in range(8)
)
FILES = {
    "csv": ("a.csv", PEOPLE),
    "json": ("a.json", json.dumps({"ferries": [{"name": "Sea Wolf"}, {"name": "Gull"}]})),
    "xml": ("a.xml", XML),
    "mbox": ("a.mbox", MBOX),
    "code": ("a.py", CODE),
}


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def places(path: Path) -> list[dict[str, str]]:
    return [json.loads(segment.place) for segment in decode(path)]


def test_rows_of_a_table(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", PEOPLE)
    assert identify(path, CONFIG).media_type == "text/csv"
    first, *_, last = places(path)
    assert first["rows"].startswith("1–")
    assert last["rows"].endswith("–61")
    quoted = write(tmp_path, "b.csv", 'who,what\nAnn,"sees\na whale"\nBob,swims\n')
    (segment,) = decode(quoted)
    assert "sees a whale" in segment.content
    assert json.loads(segment.place) == {"rows": "1–3"}
    assert identify(write(tmp_path, "c.tsv", "a\tb\n"), CONFIG).media_type.startswith("text/tab")


def test_paths_in_json(tmp_path: Path) -> None:
    value = {"title": "Ferries", "at": [[54.3, 10.1], [55.0, 9.9]], "lines": ["to Oslo", "x" * 900]}
    found = decode(write(tmp_path, "a.json", json.dumps(value)))
    assert found[0].content == "title: Ferries\nat: [[54.3, 10.1], [55.0, 9.9]]\nlines: to Oslo"
    assert [json.loads(segment.place)["path"] for segment in found][:2] == ["title", "lines[1]"]
    rows = write(tmp_path, "a.jsonl", '{"name": "Ann"}\n{"name": "Bob", "town": "Kiel"}\n')
    (segment,) = decode(rows)
    assert segment.content == "name: Ann\nname: Bob, town: Kiel"
    assert json.loads(segment.place) == {"rows": "1–2"}


def test_elements_of_xml(tmp_path: Path) -> None:
    (segment,) = decode(write(tmp_path, "a.xml", XML))
    assert segment.content == "Harbour\nIt is very long."
    assert json.loads(segment.place) == {"path": "catalog/book/title"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{not json}"),
        ("a.jsonl", '{"a": 1}\n{"b": }\n'),
        ("a.xml", "<?xml version='1.0'?><x><y></x>"),
        ("note.txt", "[1] See the harbour.\n"),
    ],
)
def test_what_only_looks_like_records_is_text(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, name, text)
    assert identify(path, CONFIG).media_type == "text/plain"
    assert decode(path)[0].content == text.strip()


def test_lines_of_a_program(tmp_path: Path) -> None:
    asset = identify(write(tmp_path, "a.py", CODE), CONFIG)
    assert (asset.media_type, asset.metadata["code"]) == ("text/x-source", "Python")
    lines = CODE.splitlines()
    for segment in segments(asset, CONFIG):
        place = json.loads(segment.place)
        first, _, last = place["lines"].partition("–")
        assert segment.content == "\n".join(lines[int(first) - 1 : int(last)]).strip()
        assert f"def {place['symbol']}" in CODE[: segment.char_end]
    script = identify(write(tmp_path, "run", "#!/bin/sh\necho foxes\n"), CONFIG)
    assert script.metadata["code"] == "Shell"


def test_mails_of_a_mailbox(tmp_path: Path) -> None:
    path = write(tmp_path, "a.mbox", MBOX)
    assert identify(path, CONFIG).metadata["n_mails"] == 2
    assert places(path) == [{"mail": 1, "heading": "Ferries"}, {"mail": 2, "heading": "Wale"}]
    assert [segment.content.rsplit("\n", 1)[1] for segment in decode(path)] == [
        "It leaves at nine.",
        "Grüße.",
    ]


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("gb2312", "gb2312", "渡轮每星期四日出之前离开港口。"),
        ("ks_c_5601-1987", "cp949", "여객선은 매주 목요일 항구를 떠납니다."),
        ("iso-2022-jp", "iso2022_jp", "フェリーは毎週木曜日に出港します。"),
        ("x-user-defined", "cp1252", "Die Fähre verlässt den Hafen vor der Dämmerung."),
        ("x-unknown", "cp1251", "Паром покидает гавань каждый четверг до восхода солнца."),
        ("us-ascii", "cp1252", "Schöne Grüße aus Köln"),
    ],
)
def test_mails_in_any_charset(tmp_path: Path, charset: str, codec: str, text: str) -> None:
    head = "From: a@b.c\nDate: Thu, 1 Jan 2026 10:00:00 +0000\nSubject: x\nMIME-Version: 1.0\n"
    head += f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n\n"
    mail = head.encode() + text.encode(codec)
    (tmp_path / "a.eml").write_bytes(mail)
    (tmp_path / "a.emlx").write_bytes(b"%d\n%b<plist>not of the mail</plist>" % (len(mail), mail))
    for path in tmp_path.iterdir():
        (segment,) = decode(path)
        assert segment.content.rsplit("\n", 1)[1] == text
        assert identify(path, CONFIG).metadata["created"] == "2026-01-01"


RED, BLUE = (200, 30, 30), (30, 30, 200)


def png(colour: tuple[int, int, int], side: int = 200) -> io.BytesIO:
    data = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(data, "PNG")
    data.seek(0)
    return data


def figures_of(path: Path) -> tuple[list[Segment], list[Segment]]:
    """Texts, and pictures."""
    found = list(segments(identify(path, CONFIG), CONFIG))
    texts = [one for one in found if one.modality == "text"]
    return texts, [one for one in found if one.modality == "image"]


def colours(pictures: list[Segment]) -> list[list[int]]:
    return [np.median(one.content.reshape(-1, 3), axis=0).astype(int).tolist() for one in pictures]


def test_pictures_of_a_text_have_headings(tmp_path: Path) -> None:
    from docx import Document

    document = Document()
    for heading, picture in (("Ferries", png(RED)), ("Icons", png(RED, 20)), ("Sea", png(BLUE))):
        document.add_heading(heading, 1)
        document.add_paragraph("Seen from the harbour.")
        document.add_picture(picture)
    document.add_picture(png(RED))  # the same picture again
    document.save(str(tmp_path / "a.docx"))
    texts, pictures = figures_of(tmp_path / "a.docx")
    assert "image" not in "".join(one.content for one in texts)
    assert colours(pictures) == [list(RED), list(BLUE)]
    assert [one.index for one in pictures] == [0, 1]
    assert [json.loads(one.place) for one in pictures] == [
        {"heading": "Ferries", "picture": 1},
        {"heading": "Sea", "picture": 3},
    ]


def test_pictures_of_a_presentation_have_slides(tmp_path: Path) -> None:
    from pptx import Presentation

    slides = Presentation()
    for title in ("Ferries", "Whales"):
        slide = slides.slides.add_slide(slides.slide_layouts[5])
        slide.shapes.title.text = title
    slide.shapes.add_picture(png(BLUE), 0, 0)
    slides.save(str(tmp_path / "a.pptx"))
    texts, (picture,) = figures_of(tmp_path / "a.pptx")
    assert [json.loads(one.place) for one in texts] == [{"slide": 1}, {"slide": 2}]
    assert json.loads(picture.place) == {"slide": 2, "picture": 1}


def test_a_document_of_pictures_only_is_read(tmp_path: Path) -> None:
    from docx import Document

    document = Document()
    document.add_picture(png(BLUE))
    document.save(str(tmp_path / "a.docx"))
    texts, pictures = figures_of(tmp_path / "a.docx")
    assert (len(texts), colours(pictures)) == (0, [list(BLUE)])


def test_pictures_of_a_pdf_have_pages_and_boxes(tmp_path: Path) -> None:
    documents.write_pdf_with_picture(tmp_path / "a.pdf", "The harbour of Kiel", RED)
    texts, (picture,) = figures_of(tmp_path / "a.pdf")
    assert texts[0].content == "The harbour of Kiel"
    assert colours([picture]) == [list(RED)]
    assert json.loads(picture.place) == {"page": 1, "picture": 1}
    ((x0, y0, x1, _, _, y1, *_),) = json.loads(picture.boxes)
    assert [x0, y0, x1, y1] == [0.2, 0.5, 0.7, 0.75]
