"""Rows, paths and pictures within documents."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest import IngestConfig, Segment, identify, segments
from tests.support import documents

CONFIG = IngestConfig(isolate=True)
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


def decode(path: Path) -> list[Segment]:
    return list(segments(identify(path, CONFIG), CONFIG))


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
