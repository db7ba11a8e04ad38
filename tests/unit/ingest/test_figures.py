"""Pictures within documents, and where they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from ingest import IngestConfig, Segment, identify, segments
from tests.support import documents

CONFIG = IngestConfig(isolate=True)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def png(colour: tuple[int, int, int], side: int = 200) -> io.BytesIO:
    data = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(data, "PNG")
    data.seek(0)
    return data


def decode(path: Path) -> tuple[list[Segment], list[Segment]]:
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
    texts, pictures = decode(tmp_path / "a.docx")
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
    texts, (picture,) = decode(tmp_path / "a.pptx")
    assert [json.loads(one.place) for one in texts] == [{"slide": 1}, {"slide": 2}]
    assert json.loads(picture.place) == {"slide": 2, "picture": 1}


def test_a_document_of_pictures_only_is_read(tmp_path: Path) -> None:
    from docx import Document

    document = Document()
    document.add_picture(png(BLUE))
    document.save(str(tmp_path / "a.docx"))
    texts, pictures = decode(tmp_path / "a.docx")
    assert (len(texts), colours(pictures)) == (0, [list(BLUE)])


def test_pictures_of_a_pdf_have_pages_and_boxes(tmp_path: Path) -> None:
    documents.write_pdf_with_picture(tmp_path / "a.pdf", "The harbour of Kiel", RED)
    texts, (picture,) = decode(tmp_path / "a.pdf")
    assert texts[0].content == "The harbour of Kiel"
    assert colours([picture]) == [list(RED)]
    assert json.loads(picture.place) == {"page": 1, "picture": 1}
    ((x0, y0, x1, _, _, y1, *_),) = json.loads(picture.boxes)
    assert [x0, y0, x1, y1] == [0.2, 0.5, 0.7, 0.75]
