"""Writes a text as a file of any kind that the library has."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from PIL import Image

from benchmarks.bundle_quality.pages import page
from benchmarks.bundle_quality.reading import FONTS
from tests.support.documents import write_docx, write_odf, write_pptx, write_xlsx
from tests.support.media import write_slides

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
        write_odf(path, [(escape(heading), escape(part)) for heading, part in sections])
    elif path.suffix == ".eml":
        _write_mail(path, text)
    elif path.suffix == ".html":
        body = "".join(f"<p>{part}</p>" for part in text.pages)
        path.write_text(
            f"<!doctype html><html><title>{text.title}</title><body>{body}</body></html>", "utf-8"
        )
    elif path.suffix in (".png", ".jpg"):
        kind = "screen" if path.suffix == ".png" else "scan"
        rgb, _ = page(kind, f"{text.title}. {whole}", text.language, seed, FONTS)  # type: ignore[arg-type]
        Image.fromarray(rgb).save(path)
    elif path.suffix == ".mp4":
        shown = [page("screen", part, text.language, seed, FONTS)[0] for part in text.pages]
        write_slides(path, [Image.fromarray(rgb[:400, :640]) for rgb in shown])
    else:
        mark = "# " if path.suffix == ".md" else ""
        path.write_text(f"{mark}{text.title}\n\n{whole}\n", "utf-8")


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
