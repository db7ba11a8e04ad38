"""Writes a text as a file of any kind that the library has."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.corpora.pages import FONTS_FOLDER, page

Sections = Sequence[tuple[str, str]]
"""Headings and what stands below them."""

_LINE = {"en": 88, "de": 88, "zh": 42}
_N_LINES = 44


class Written(NamedTuple):
    """A text of ours: ``pages`` are its parts, ``about`` the rest of its heading."""

    path: str
    language: str
    about: str
    title: str
    pages: list[str]


def write_text(path: Path, text: Written, seed: int = 0) -> None:
    """Write a text as the suffix of its path says; pictures and films show it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = [(text.title, text.pages[0]), *(("", part) for part in text.pages[1:])]
    whole = "\n\n".join(text.pages)
    if path.suffix == ".pdf":
        write_pdf(path, [f"{text.title}\n{text.pages[0]}", *text.pages[1:]], text.language)
    elif path.suffix == ".docx":
        write_docx(path, sections)
    elif path.suffix == ".pptx":
        slides = [part.partition("\n") for part in text.pages[1:]]
        write_pptx(path, [sections[0], *((head, body or head) for head, _, body in slides)])
    elif path.suffix == ".xlsx":
        write_xlsx(path, [(text.title[:30], line) for line in [whole.replace("; ", "\n")]])
    elif path.suffix == ".odt":
        write_odt(path, sections)
    elif path.suffix == ".eml":
        _write_mail(path, text)
    elif path.suffix == ".html":
        body = "".join(f"<p>{part}</p>" for part in text.pages)
        path.write_text(
            f"<!doctype html><html><title>{text.title}</title><body>{body}</body></html>", "utf-8"
        )
    elif path.suffix in (".png", ".jpg"):
        kind = "screen" if path.suffix == ".png" else "scan"
        rgb, _ = page(kind, f"{text.title}. {whole}", text.language, seed, FONTS_FOLDER)  # type: ignore[arg-type]
        Image.fromarray(rgb).save(path)
    elif path.suffix == ".mp4":
        shown = [page("screen", part, text.language, seed, FONTS_FOLDER)[0] for part in text.pages]
        write_slides(path, [Image.fromarray(rgb[:400, :640]) for rgb in shown])
    else:
        mark = "# " if path.suffix == ".md" else ""
        path.write_text(f"{mark}{text.title}\n\n{whole}\n", "utf-8")


def write_docx(path: Path, sections: Sections) -> None:
    """A heading and a paragraph for each section."""
    from docx import Document

    document = Document()
    for heading, text in sections:
        document.add_heading(heading, 1)
        document.add_paragraph(text)
    document.save(str(path))


def write_pptx(path: Path, sections: Sections) -> None:
    """A slide for each section."""
    from pptx import Presentation

    slides = Presentation()
    for heading, text in sections:
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = heading
        slide.placeholders[1].text = text
    slides.save(str(path))


def write_xlsx(path: Path, sections: Sections) -> None:
    """A sheet for each section, with its text in a cell under a name."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for heading, text in sections:
        sheet = book.create_sheet(heading)
        sheet.append(["what"])
        sheet.append([text])
    book.save(path)


def write_odt(path: Path, sections: Sections) -> None:
    """A heading and a paragraph for each section."""
    names = "urn:oasis:names:tc:opendocument:xmlns"
    body = "".join(
        f"<text:h text:outline-level='1'>{escape(heading)}</text:h><text:p>{escape(text)}</text:p>"
        for heading, text in sections
    )
    content = (
        f'<?xml version="1.0"?><office:document-content xmlns:office="{names}:office:1.0" '
        f'xmlns:text="{names}:text:1.0" office:version="1.3"><office:body><office:text>{body}'
        "</office:text></office:body></office:document-content>"
    )
    with ZipFile(path, "w") as members:
        members.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        members.writestr("content.xml", content)


def write_slides(
    path: Path, slides: Sequence[Image.Image], samples: NDArray[np.float32] | None = None
) -> None:
    """A film that shows each picture for 4 s, with no sound or ``samples`` (mono, 48 kHz)."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height = slides[0].size
        video.pix_fmt = "yuv420p"
        sound = None if samples is None else container.add_stream("aac", 48_000, layout="mono")
        for slide in slides:
            for _ in range(4 * 5):
                container.mux(video.encode(av.VideoFrame.from_image(slide)))
        container.mux(video.encode())
        if sound and samples is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            fifo = av.AudioFifo()
            fifo.write(frame)
            while (part := fifo.read(1024, partial=True)) is not None:
                container.mux(sound.encode(part))
            container.mux(sound.encode())


def _write_mail(path: Path, text: Written) -> None:
    day, _, people = text.about.partition(" ")
    sender, _, receiver = people.partition(" > ")
    mail = EmailMessage()
    mail["Subject"] = text.title
    mail["From"], mail["To"] = f"{sender} <a@example.org>", f"{receiver} <b@example.org>"
    mail["Date"] = format_datetime(datetime.fromisoformat(f"{day}T09:30:00+00:00"))
    mail.set_content("\n\n".join(text.pages))
    path.write_bytes(bytes(mail))


def write_pdf(path: Path, pages: Sequence[str], language: str) -> None:
    """A PDF with a text layer, in one of the fonts that every reader has."""
    chinese = language == "zh"
    font = (
        "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/UniGB-UCS2-H/DescendantFonts"
        "[<</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo"
        "<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>/DW 1000>>]>>"
        if chinese
        else "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    )
    encoding = "utf-16-be" if chinese else "cp1252"
    sheets = [
        lines[start : start + _N_LINES]
        for lines in (_wrapped(part, _LINE[language], chinese) for part in pages)
        for start in range(0, len(lines), _N_LINES)
    ]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(sheets)))
    objects = ["<</Type/Catalog/Pages 2 0 R>>"]
    objects += [f"<</Type/Pages/Kids[{kids}]/Count {len(sheets)}>>", font]
    for n, lines in enumerate(sheets):
        shown = " T* ".join(f"<{line.encode(encoding, 'replace').hex()}> Tj" for line in lines)
        content = f"BT /F 11 Tf 16 TL 60 780 Td {shown} ET"
        objects.append(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F 3 0 R>>>>"
            f"/Contents {5 + 2 * n} 0 R>>"
        )
        objects.append(f"<</Length {len(content)}>>stream\n{content}\nendstream")
    body = "".join(f"{n} 0 obj{one}\nendobj\n" for n, one in enumerate(objects, 1))
    path.write_bytes(f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF".encode("latin-1"))


def _wrapped(text: str, width: int, chinese: bool) -> list[str]:
    lines = text.splitlines()
    if chinese:
        return [line[at : at + width] for line in lines for at in range(0, len(line), width)]
    return [part for line in lines for part in textwrap.wrap(line, width)]
