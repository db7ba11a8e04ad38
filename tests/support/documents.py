"""Documents of office programs, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

ODF = """<?xml version="1.0"?><office:document-content
 xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"
 office:version="1.3"><office:body>{body}</office:body></office:document-content>"""

Sections = Sequence[tuple[str, str]]


def write_docx(path: Path, sections: Sections, title: str = "") -> Path:
    """A heading and a paragraph for each section."""
    from docx import Document

    document = Document()
    document.core_properties.title = title
    for heading, text in sections:
        document.add_heading(heading, 1)
        document.add_paragraph(text)
    document.save(str(path))
    return path


def write_pptx(path: Path, sections: Sections) -> Path:
    """A slide for each section."""
    from pptx import Presentation

    slides = Presentation()
    for heading, text in sections:
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = heading
        slide.placeholders[1].text = text
    slides.save(str(path))
    return path


def write_xlsx(path: Path, sections: Sections) -> Path:
    """A sheet for each section, with its text in a cell under a name."""
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for heading, text in sections:
        sheet = book.create_sheet(heading)
        sheet.append(["what"])
        sheet.append([text])
    book.save(path)
    return path


def write_odf(path: Path, sections: Sections) -> Path:
    """An .odt, .ods, .odp or .ott, as the suffix says."""
    kind = {".ods": "spreadsheet", ".odp": "presentation"}.get(path.suffix, "text")
    parts = {
        "text": "<text:h text:outline-level='1'>{0}</text:h><text:p>{1}</text:p>",
        "spreadsheet": "<table:table table:name='{0}'><table:table-row>"
        "<table:table-cell office:value-type='string'><text:p>{1}</text:p></table:table-cell>"
        "</table:table-row></table:table>",
        "presentation": "<draw:page draw:name='{0}'><draw:frame><draw:text-box><text:p>{0}</text:p>"
        "<text:p>{1}</text:p></draw:text-box></draw:frame></draw:page>",
    }[kind]
    body = "".join(parts.format(heading, text) for heading, text in sections)
    content = ODF.format(body=f"<office:{kind}>{body}</office:{kind}>")
    media_type = f"application/vnd.oasis.opendocument.{kind}"
    media_type += "-template" if path.suffix == ".ott" else ""
    manifest = (
        "<manifest:manifest xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'>"
        f"<manifest:file-entry manifest:full-path='/' manifest:media-type='{media_type}'/>"
        "</manifest:manifest>"
    )
    write_zip(path, media_type, {"content.xml": content, "META-INF/manifest.xml": manifest})
    return path


def write_epub(path: Path, sections: Sections) -> Path:
    """A chapter for each section."""
    chapters = {
        f"c{n}.xhtml": f"<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>{heading}</h1>"
        f"<p>{text}</p></body></html>"
        for n, (heading, text) in enumerate(sections)
    }
    items = "".join(
        f"<item id='{name[:2]}' href='{name}' media-type='application/xhtml+xml'/>"
        for name in chapters
    )
    spine = "".join(f"<itemref idref='{name[:2]}'/>" for name in chapters)
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf' version='3.0' unique-identifier='i'>"
        "<metadata xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:identifier id='i'>x"
        f"</dc:identifier></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container' version='1.0'>"
        "<rootfiles><rootfile full-path='p.opf' media-type='application/oebps-package+xml'/>"
        "</rootfiles></container>"
    )
    files = {"META-INF/container.xml": container, "p.opf": package, **chapters}
    write_zip(path, "application/epub+zip", files)
    return path


def write_rtf(path: Path, sections: Sections) -> Path:
    """Paragraphs, with letters beyond ASCII as RTF writes them."""
    lines = "\\par ".join(f"{heading}\\par {text}" for heading, text in sections)
    escaped = "".join(c if ord(c) < 128 else f"\\u{ord(c)}?" for c in lines)
    path.write_text(f"{{\\rtf1\\ansi {escaped}}}")
    return path


def write_mail(path: Path, sections: Sections) -> Path:
    """The first heading is the subject."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ann@example.org", "bob@example.org", sections[0][0]
    mail.set_content("\n\n".join(f"{heading}\n{text}" for heading, text in sections))
    path.write_bytes(bytes(mail))
    return path


def write_subtitles(path: Path, sections: Sections) -> Path:
    """SubRip or WebVTT: each section from second 10 n to 10 n + 5."""
    mark, lines = ("WEBVTT\n\n", []) if path.suffix == ".vtt" else ("", [])
    point = "." if path.suffix == ".vtt" else ","
    for n, (_, text) in enumerate(sections):
        number = "" if mark else f"{n + 1}\n"
        lines.append(f"{number}00:00:{n}0{point}000 --> 00:00:{n}5{point}000\n{text}\n")
    path.write_text(mark + "\n".join(lines), "utf-8")
    return path


def write_notebook(path: Path, sections: Sections) -> Path:
    """A cell of Markdown for each section, and one of code."""
    import json

    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"# {heading}\n", text]}
        for heading, text in sections
    ]
    code = {"cell_type": "code", "metadata": {}, "source": "print('foxes')", "outputs": []}
    path.write_text(
        json.dumps({"cells": [*cells, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    return path


def write_zip(path: Path, media_type: str, files: dict[str, str]) -> None:
    """An archive whose first entry names its type."""
    with ZipFile(path, "w", ZIP_STORED) as members:
        for name, text in {"mimetype": media_type, **files}.items():
            members.writestr(name, text)


def write_pdf_with_picture(path: Path, text: str, colour: tuple[int, int, int]) -> Path:
    """A page of 400 × 400 points with a line, and a picture of 200 × 100 below it."""
    pixels = bytes(colour) * (100 * 100)
    content = f"BT /F 12 Tf 40 350 Td ({text}) Tj ET q 200 0 0 100 80 100 cm /I Do Q".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 400]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>/XObject<</I 6 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/XObject/Subtype/Image/Width 100/Height 100/BitsPerComponent 8"
        b"/ColorSpace/DeviceRGB/Length %d>>stream\n%b\nendstream" % (len(pixels), pixels),
    ]
    body = b"".join(b"%d 0 obj%b endobj\n" % (n, data) for n, data in enumerate(objects, 1))
    path.write_bytes(b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>\n%%EOF")
    return path
