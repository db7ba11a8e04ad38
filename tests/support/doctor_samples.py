"""Builds ``workers/cli/samples.zip``: a small file of each kind, which `anymodal doctor` reads.

python -m tests.support.doctor_samples

All of it is made here, of our own words, tones and colours, but `KEPT`, which stays as it is:
nothing installed writes these formats.
"""

from __future__ import annotations

import io
import json
import mailbox
import zipfile
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from PIL import Image

from tests.support import documents, media, old_office, ole

TARGET = Path(__file__).parents[2] / "workers" / "cli" / "samples.zip"
TEXT = "The ferry leaves the harbour at nine."
SECTIONS = [("Ferries", TEXT)]
KEPT = ("sample.doc", "sample.ppt", "sample.xls")
_DATE = (2026, 1, 1, 0, 0, 0)


def main() -> None:
    """Write the files, and pack them."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(TARGET) as archive:
            archive.extractall(folder, KEPT)
        write_texts(folder)
        write_documents(folder)
        write_media(folder)
        with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.iterdir()):
                archive.writestr(zipfile.ZipInfo(path.name, _DATE), path.read_bytes(), 8)


def write_texts(folder: Path) -> None:
    """Kinds that are text."""
    texts = {
        "sample.txt": TEXT,
        "sample.html": f"<title>Ferries</title><p>{TEXT}</p>",
        "sample.csv": "port,hour\nHarbour,9\nIsland,11\n",
        "sample.json": json.dumps({"text": TEXT}),
        "sample.vcf": f"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ann\r\nNOTE:{TEXT}\r\nEND:VCARD\r\n",
        "sample.mht": "MIME-Version: 1.0\nSubject: Ferries\nSnapshot-Content-Location: "
        'http://example.org/\nContent-Type: multipart/related; type="text/html"; boundary="x"\n\n'
        f"--x\nContent-Type: text/html\n\n<p>{TEXT}</p>\n--x--\n",
        "sample.xml": f"<?xml version='1.0'?><note>{TEXT}</note>",
        "sample.fb2": "<?xml version='1.0' encoding='utf-8'?><FictionBook xmlns='http://www.gribuser.ru"
        f"/xml/fictionbook/2.0'><body><section><p>{TEXT}</p></section></body></FictionBook>",
        "sample.py": f'def leave() -> str:\n    return "{TEXT}"\n',
        "sample.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='64' height='48'>"
        "<rect width='64' height='48' fill='teal'/></svg>",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    documents.write_subtitles(folder / "sample.srt", SECTIONS)
    documents.write_notebook(folder / "sample.ipynb", SECTIONS)


def write_documents(folder: Path) -> None:
    """Kinds with pages, mails and archives."""
    documents.write_docx(folder / "sample.docx", SECTIONS)
    documents.write_pptx(folder / "sample.pptx", SECTIONS)
    documents.write_xlsx(folder / "sample.xlsx", SECTIONS)
    for suffix in ("odt", "ods", "odp"):
        documents.write_odf(folder / f"sample.{suffix}", SECTIONS)
    old_office.write_xlsb(folder / "sample.xlsb", TEXT)
    page = f"<FixedPage xmlns='urn:x'><Glyphs UnicodeString='{TEXT}'/></FixedPage>"
    with zipfile.ZipFile(folder / "sample.xps", "w") as package:
        package.writestr("[Content_Types].xml", "<Types/>")
        package.writestr("FixedDocSeq.fdseq", "<x/>")
        package.writestr("Documents/1/Pages/1.fpage", page)
    documents.write_epub(folder / "sample.epub", SECTIONS)
    documents.write_rtf(folder / "sample.rtf", SECTIONS)
    documents.write_mail(folder / "sample.eml", SECTIONS)
    media.write_pdf(folder / "sample.pdf", [TEXT])
    sent = datetime(2026, 1, 1, tzinfo=UTC)
    ole.write_ole(folder / "sample.msg", ole.outlook("Ferries", TEXT, sent=sent))
    mail = EmailMessage()
    mail["From"], mail["Subject"], mail["Date"] = "a@example.org", "Ferries", "1 Jan 2026 09:00:00"
    mail.set_content(TEXT)
    box = mailbox.mbox(folder / "sample.mbox")
    box.add(mail)
    box.close()
    with zipfile.ZipFile(folder / "sample.zip", "w") as archive:
        archive.writestr("inner.txt", TEXT)


def write_media(folder: Path) -> None:
    """Pictures, sounds, films, and what is drawn."""
    pixels = Image.fromarray(media.picture(64, 48))
    for suffix in ("jpg", "png", "webp", "gif", "tif", "avif"):
        pixels.save(folder / f"sample.{suffix}")
    media.write_heic(folder / "sample.heic", media.picture(64, 48))
    write_raw(folder / "sample.nef")
    for suffix in ("wav", "flac"):
        soundfile.write(folder / f"sample.{suffix}", media.tone(1.0, 16_000), 16_000)
    for suffix, codec in (("mp3", "mp3"), ("opus", "libopus"), ("m4a", "aac")):
        media.write_sound(folder / f"sample.{suffix}", codec, seconds=1.0)
    media.write_film(folder / "sample.mp4", seconds=2.0)
    media.write_film(folder / "sample.webm", "libvpx-vp9", "libopus", seconds=2.0)


def write_raw(path: Path) -> None:
    """A camera's file: a small picture, and behind it the preview."""
    preview = io.BytesIO()
    Image.fromarray(media.picture(128, 96)).save(preview, "JPEG")
    Image.fromarray(media.picture(16, 12)).save(path, "TIFF")
    path.write_bytes(path.read_bytes() + preview.getvalue())


if __name__ == "__main__":
    main()
