"""Write small files by other programs: LibreOffice, ImageMagick and 7-Zip.

python -m tests.written

They lie in tests/data/written, with the words that another program reads in each document, so that
the tests need none of these programs. Needs Debian's libreoffice-writer-nogui, -calc-nogui and
-impress-nogui, poppler-utils, imagemagick and 7zip.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.corpus import words

WRITTEN = Path(__file__).parent / "data" / "written"
WORDS = WRITTEN / "words.json"
_ENGLISH = "The ferry leaves the harbour every Thursday before sunrise."
_GERMAN = "Die Fähre verlässt den Hafen jeden Donnerstag vor der Dämmerung."
_CHINESE = "渡轮每星期四日出之前离开港口。"
_HTML = f"""<html><head><meta charset="utf-8"></head><body><h1>Timetable</h1>
<p>{_ENGLISH}</p><ul><li>{_GERMAN}</li></ul>
<table><tr><td>Lighthouse</td><td>Bicycle</td></tr><tr><td>{_CHINESE}</td><td>17</td></tr></table>
</body></html>"""
_CSV = f"Timetable,Passengers\nLighthouse,17\n{_ENGLISH},23\n{_GERMAN},29\n{_CHINESE},31\n"
_SLIDE = """<draw:page><draw:frame svg:width="20cm" svg:height="5cm" svg:x="2cm" svg:y="2cm">
<draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame></draw:page>"""
_OASIS = "urn:oasis:names:tc:opendocument:xmlns"
_DECK = f"""<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="{_OASIS}:office:1.0" xmlns:draw="{_OASIS}:drawing:1.0"
xmlns:text="{_OASIS}:text:1.0" xmlns:svg="{_OASIS}:svg-compatible:1.0" office:version="1.3"
office:mimetype="application/vnd.oasis.opendocument.presentation">
<office:body><office:presentation>{{}}</office:presentation></office:body></office:document>"""
_OFFICE = {
    "writer": ("html", "docx odt ott fodt rtf doc pdf"),
    "calc": ("csv", "xlsx ods fods xls pdf"),
    "impress": ("fodp", "pptx odp ppt pdf"),
}
_OWN = words(f"Timetable Lighthouse Bicycle Passengers {_ENGLISH} {_GERMAN} {_CHINESE}")
_PICTURES = {
    "png": (),
    "interlaced.png": ("-interlace", "PNG"),
    "palette.png": ("-colors", "16", "-type", "Palette"),
    "deep.png": ("-depth", "16"),
    "jpg": ("-quality", "90"),
    "progressive.jpg": ("-interlace", "JPEG"),
    "cmyk.jpg": ("-colorspace", "CMYK"),
    "tiff": (),
    "lzw.tif": ("-compress", "LZW"),
    "deep.tif": ("-depth", "16"),
    "webp": ("-quality", "90"),
    **dict.fromkeys("gif bmp tga psd jp2 ico pcx ppm sgi avif heic".split(), ()),
}
_ARCHIVES = {
    "deflate.zip": ("-tzip", "-mm=Deflate"),
    "stored.zip": ("-tzip", "-mm=Copy"),
    "deflate64.zip": ("-tzip", "-mm=Deflate64"),
    "bzip2.zip": ("-tzip", "-mm=BZip2"),
    "lzma.zip": ("-tzip", "-mm=LZMA"),
    "ppmd.zip": ("-tzip", "-mm=PPMd"),
    "locked.zip": ("-tzip", "-mem=AES256", "-psecret"),
    "tar": ("-ttar",),
    "7z": ("-t7z",),
}


def main() -> None:
    """Write all of them again."""
    shutil.rmtree(WRITTEN, ignore_errors=True)
    WRITTEN.mkdir(parents=True)
    with TemporaryDirectory() as home:
        found = _write_office(Path(home))
    _write_pictures()
    WORDS.write_text(json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def _write_office(home: Path) -> dict[str, list[str]]:
    """Documents; for each, the words that pdftotext reads in what LibreOffice prints of it."""
    (home / "writer.html").write_text(_HTML, "utf-8")
    (home / "calc.csv").write_text(_CSV, "utf-8")
    slides = "".join(_SLIDE.format(text) for text in (_ENGLISH, _GERMAN, _CHINESE))
    (home / "impress.fodp").write_text(_DECK.format(slides), "utf-8")
    found = {}
    for application, (source, suffixes) in _OFFICE.items():
        for suffix in suffixes.split():
            options = ["--infilter=HTML (StarWriter)"] if source == "html" else []
            options += ["--infilter=CSV:44,34,76"] if source == "csv" else []
            _convert([*options, str(home / f"{application}.{source}")], suffix, WRITTEN)
            path = WRITTEN / f"{application}.{suffix}"
            printed = path if suffix == "pdf" else home / "printed" / f"{application}.pdf"
            if suffix != "pdf":
                _convert([str(path)], "pdf", home / "printed")
            read = words(_run("pdftotext", "-q", str(printed), "-"))
            found[path.name] = sorted(read & _OWN)  # prints have page numbers, too
    member = home / "Fähre.txt"
    member.write_text(f"{_ENGLISH}\n{_GERMAN}\n{_CHINESE}\n", "utf-8")
    for name, options in _ARCHIVES.items():
        path = WRITTEN / (name if "." in name else f"plain.{name}")
        _run("7z", "a", "-bd", *options, str(path), str(member))
        found[path.name] = sorted(words(member.read_text("utf-8")))
    return found


def _convert(source: Sequence[str], suffix: str, folder: Path) -> None:
    _run("soffice", "--headless", "--convert-to", suffix, "--outdir", str(folder), *source)


def _write_pictures() -> None:
    drawing = ("-size", "48x32", "gradient:navy-gold", "-depth", "8", "-fill", "white", "-draw")
    for name, options in _PICTURES.items():
        path = WRITTEN / (f"photo-{name}" if "." in name else f"photo.{name}")
        _run("magick", *drawing, "circle 15,12 15,5 rectangle 30,18 45,29", *options, str(path))


def _run(*command: str) -> str:
    run = subprocess.run(command, capture_output=True, check=True, timeout=120)
    return run.stdout.decode("utf-8")


if __name__ == "__main__":
    main()
