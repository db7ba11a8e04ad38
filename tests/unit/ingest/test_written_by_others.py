"""Files as other programs write them: read by their kind, or set aside with a reason."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from shutil import copy
from zipfile import ZipFile

import av
import numpy as np
import pyarrow as pa
import pytest
from docx import Document
from matplotlib.figure import Figure
from openpyxl import Workbook
from openpyxl.drawing.image import Image as SheetImage
from PIL import Image
from pptx import Presentation

from encoder.errors import UnsupportedMediaError
from encoder.types import IMAGE, TEXT
from ingest import IngestConfig, Place, identify, ingest, picture, segments
from ingest.kinds.registry import OURS, kind_of
from ingest.testing import check_kind
from ingest.types import Failure
from tests.support import documents, old_office
from tests.support.media import picture as pixels
from tests.support.media import tone, write_film, write_pdf
from tests.support.media import write_sound as write_track
from tests.support.ole import outlook, write_ole
from tests.written import WRITTEN

CONFIG = IngestConfig()
WORDS = "The ferry leaves the harbour at nine"
SECTIONS = [("Ferries", WORDS)]
CR2 = b"II*\0\x10\0\0\0CR\2\0" + bytes(99)
SENT = datetime(2024, 5, 3, 10, tzinfo=UTC)


def zipped(path: Path, files: dict[str, str | bytes]) -> None:
    with ZipFile(path, "w") as members:
        for name, content in files.items():
            members.writestr(name, content)


def reordered(write: Callable[[Path, documents.Sections], Path]) -> Callable[[Path], None]:
    """The parts of a document in another order, as some programs save them."""

    def writer(path: Path) -> None:
        write(path, SECTIONS)
        with ZipFile(path) as members:
            files = {name: members.read(name) for name in reversed(members.namelist())}
        zipped(path, dict(sorted(files.items(), key=lambda file: file[0] == "mimetype")))

    return writer


def write_xps(path: Path) -> None:
    page = f"<FixedPage xmlns='urn:x'><Glyphs UnicodeString='{WORDS}'/></FixedPage>"
    files = {"[Content_Types].xml": "<Types/>", "FixedDocSeq.fdseq": "<x/>"}
    zipped(path, {**files, "Documents/1/Pages/1.fpage": page})


def write_vsdx(path: Path) -> None:
    page = f"<PageContents xmlns='urn:v'><Text><cp IX='0'/>{WORDS}</Text></PageContents>"
    files = {"[Content_Types].xml": "<Types/>", "docProps/app.xml": "<Properties/>"}
    zipped(path, {**files, "visio/pages/page1.xml": page})


def write_pages(path: Path) -> None:
    index = f"<sl:document xmlns:sl='urn:l' xmlns:sf='urn:f'><sf:p>{WORDS}</sf:p></sl:document>"
    zipped(path, {"buildVersionHistory.plist": "<plist/>", "index.xml": index})


def iwa(text: str) -> bytes:
    """A layout's text in a message of type 2001, field 3, behind what says so, in one chunk."""

    def field(number: int, value: int | bytes) -> bytes:
        if isinstance(value, int):
            return bytes([number << 3, value & 127 | 128, value >> 7])
        return bytes([number << 3 | 2, len(value)]) + value

    message = field(3, text.encode())
    info = field(1, 7) + field(2, field(1, 2001) + field(3, len(message)))
    packed = pa.compress(bytes([len(info)]) + info + message, codec="snappy", asbytes=True)
    return b"\0" + len(packed).to_bytes(3, "little") + packed


def write_keynote(path: Path) -> None:
    """As saved in a file, with a layout; as a folder below, its index is packed by itself."""
    slides = {"Index/Slide-1.iwa": iwa(WORDS), "Index/TemplateSlide.iwa": iwa("BEGIN: a title")}
    zipped(path, {"Index/Document.iwa": iwa(" "), **slides, "QuickLook/Thumbnail.jpg": jpeg()})


def write_keynote_folder(path: Path) -> None:
    index = io.BytesIO()
    with ZipFile(index, "w") as members:
        members.writestr("Slide.iwa", iwa(WORDS))
    zipped(path, {"a.key/Data/": "", "a.key/Index.zip": index.getvalue()})


def write_sxw(path: Path) -> None:
    manifest = "<m><f media-type='x' full-path='Pictures/'/></m>"
    root = '<file-entry media-type="application/vnd.sun.xml.writer" full-path="/"/>'
    content = f"<office:body xmlns:office='urn:o'><p>{WORDS}</p></office:body>"
    manifest = manifest.replace("<m>", f"<m>{root}")
    zipped(path, {"content.xml": content, "META-INF/manifest.xml": manifest})


def write_lists(path: Path) -> None:
    """With a heading in a list, and a numbered paragraph, as LibreOffice writes them."""
    header, numbered = WORDS.split(" the ")
    documents.write_odf(path, [("Ferries", "@")])
    with ZipFile(path) as members:
        files = {name: members.read(name) for name in members.namelist()}
    body = (
        f"<text:list><text:list-header><text:p>{header} the</text:p></text:list-header></text:list>"
        f"<text:numbered-paragraph><text:p>{numbered}</text:p></text:numbered-paragraph>"
    )
    files["content.xml"] = files["content.xml"].replace(b"<text:p>@</text:p>", body.encode())
    zipped(path, files)


def write_form(path: Path) -> None:
    """A PDF form: what was typed into a field, and the choices of a list."""
    typed, chosen = WORDS.split(" the ")
    field = "/Type/Annot/Subtype/Widget/F 4/DA(/F 12 Tf 0 g)/P 3 0 R"
    objects = [
        "/Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R 6 0 R]/DR<</Font<</F 4 0 R>>>>>>",
        "/Type/Pages/Kids[3 0 R]/Count 1",
        "/Type/Page/Parent 2 0 R/MediaBox[0 0 400 400]/Annots[5 0 R 6 0 R]",
        "/Type/Font/Subtype/Type1/BaseFont/Helvetica",
        f"{field}/FT/Tx/T(a)/V({typed} the)/Rect[40 200 300 220]",
        f"{field}/FT/Ch/T(b)/Opt[[(1)({chosen})][(2)(never)]]/Rect[40 60 300 140]",
    ]
    body = "".join(f"{n} 0 obj<<{data}>>endobj\n" for n, data in enumerate(objects, 1))
    path.write_text(f"%PDF-1.4\n{body}trailer<</Root 1 0 R>>\n%%EOF")


def write_plot(path: Path) -> None:
    figure = Figure()
    figure.text(0.1, 0.5, WORDS)
    figure.savefig(path)


def write_mht(path: Path) -> None:
    page = EmailMessage()
    page["From"], page["Subject"] = "<Saved by Blink>", "Ferries"
    page["MIME-Version"] = "1.0"
    page.set_content(f"<html><title>Ferries</title><p>{WORDS}</p>", "html", cte="quoted-printable")
    page.add_related(jpeg(), "image", "jpeg")
    path.write_bytes(bytes(page))


def write_fb2(path: Path) -> None:
    """In the encoding of most of them, with a stylesheet and a cover."""
    title = "<description><title-info><book-title>Паром</book-title></title-info></description>"
    body = f"<body><section><title><p>Паром</p></title><p>{WORDS}</p></section></body>"
    cover = "<binary id='c.jpg' content-type='image/jpeg'>AAAA</binary>"
    book = f"<stylesheet type='text/css'>.p{{xmlns:x}}</stylesheet>{title}{body}{cover}"
    book = f"<FictionBook xmlns='http://www.gribuser.ru/xml/fictionbook/2.0'>{book}</FictionBook>"
    path.write_text(f"<?xml version='1.0' encoding='windows-1251'?>{book}", "cp1251")


def write_vcf(path: Path) -> None:
    card = (
        "BEGIN:VCARD\r\nVERSION:2.1\r\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=BCrgen=\r\n"
        f" Ferry\r\nitem1.EMAIL;TYPE=work:jf@example.org\r\nTEL:+49 431 1\r\nNOTE:{WORDS[:9]}\r\n"
        f" {WORDS[9:]}\r\nPHOTO;ENCODING=b:AAAA==\r\nEND:VCARD\r\n"
    )
    path.write_bytes(card.encode())


def write_ics(path: Path) -> None:
    event = f"SUMMARY:{WORDS}\nDTSTART;TZID=Europe/Berlin:20250303T090000\nLOCATION:Kiel\\, quay 3"
    path.write_text(
        f"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\n{event}\nEND:VEVENT\nEND:VCALENDAR"
    )


def jpeg(width: int = 640, height: int = 480) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(width, height)).save(file, "JPEG")
    return file.getvalue()


def writer(write: Callable[[Path, documents.Sections], Path]) -> Callable[[Path], object]:
    return lambda path: write(path, SECTIONS)


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


def write_picture(path: Path) -> None:
    Image.fromarray(pixels(60, 40)).save(path)


SAMPLES: dict[str, dict[str, Callable[[Path], object]]] = {
    "text": {"a.txt": text(WORDS), "a.md": text(f"# {WORDS}")},
    "html": {"a.html": text(f"<p>{WORDS}")},
    "pdf": {"a.pdf": write_form, "b.pdf": lambda path: write_pdf(path, [WORDS, WORDS])},
    "docx": {"a.docx": writer(documents.write_docx)},
    "pptx": {"a.pptx": writer(documents.write_pptx)},
    "xlsx": {"a.xlsx": writer(documents.write_xlsx)},
    "xlsb": {"a.xlsb": partial(old_office.write_xlsb, text=WORDS)},
    "odt": {"a.odt": writer(documents.write_odf)},
    "ods": {"a.ods": writer(documents.write_odf)},
    "odp": {"a.odp": writer(documents.write_odf)},
    "epub": {"a.epub": writer(documents.write_epub)},
    "fb2": {"a.fb2": write_fb2},
    "package": {"a.key": write_keynote},
    "rtf": {"a.rtf": writer(documents.write_rtf)},
    "eml": {"a.eml": writer(documents.write_mail)},
    "mbox": {"a.mbox": text(f"From a@b.c Thu Jan  1 10:00:00 2026\nFrom: a@b.c\n\n{WORDS}\n")},
    "mht": {"a.mht": write_mht},
    "cards": {"a.vcf": write_vcf, "a.ics": write_ics},
    "msg": {"a.msg": lambda path: write_ole(path, outlook("Ferries", WORDS, sent=SENT))},
    "doc": {"a.doc": partial(copy, WRITTEN / "writer.doc")},
    "ppt": {"a.ppt": partial(copy, WRITTEN / "impress.ppt")},
    "xls": {"a.xls": partial(copy, WRITTEN / "calc.xls")},
    "ipynb": {"a.ipynb": writer(documents.write_notebook)},
    "subtitles": {"a.srt": writer(documents.write_subtitles)},
    "csv": {"a.csv": text("name,town,boat\n" + "Ann,Kiel,ferry\n" * 60)},
    "json": {"a.json": text('{"ferries": [{"name": "Sea Wolf"}, {"name": "Gull"}]}')},
    "xml": {
        "a.xml": text(
            f"<?xml version='1.0'?><sheet xmlns='urn:x'><row of='a ship'>{WORDS}</row></sheet>"
        )
    },
    "code": {"a.py": text("#!/usr/bin/env python3\n" + "def leave(x):\n    x.go()\n" * 40)},
    "archive": {"a.zip": lambda path: zipped(path, {"a.txt": WORDS, "b/c.html": f"<p>{WORDS}"})},
    "image": {f"a.{end}": write_picture for end in "png jpg tiff webp jp2 pcx sgi ppm".split()},
    "raw": {"a.cr2": lambda path: path.write_bytes(CR2 + jpeg(900, 600))},
    "svg": {"a.svg": text("<svg xmlns='http://www.w3.org/2000/svg'><rect width='9'/></svg>")},
    "audio": {"a.flac": lambda path: write_track(path, "flac", 1.0)},
    "video": {"a.mp4": lambda path: write_film(path, seconds=2.0, size=(64, 48))},
}


OTHERS = {
    "pdf": {"a.pdf": write_plot},
    "docx": {"a.docx": reordered(documents.write_docx)},
    "pptx": {"a.pptx": reordered(documents.write_pptx)},
    "xlsx": {"a.xlsx": reordered(documents.write_xlsx)},
    "odt": {"a.odt": reordered(documents.write_odf), "b.odt": write_lists},
    "ods": {"a.ods": reordered(documents.write_odf)},
    "epub": {"a.epub": reordered(documents.write_epub)},
    "package": {
        "a.xps": write_xps,
        "a.vsdx": write_vsdx,
        "a.pages": write_pages,
        "a.sxw": write_sxw,
        "a.key": write_keynote_folder,
    },
}
"""As programs of other makers, or other versions, write them."""

OF_OFFICE = ("doc", "ppt", "xls")
"""By LibreOffice: tests.corpus looks for their words."""
WITHOUT_THE_WORDS = (*OF_OFFICE, "csv", "json", "code", "archive", "raw", "svg")


@pytest.mark.parametrize(
    ("kind", "name", "write"),
    [
        pytest.param(kind, name, write, id=f"{kind}-{name}{'-other' * (table is OTHERS)}")
        for table in (SAMPLES, OTHERS)
        for kind, files in table.items()
        for name, write in files.items()
        if kind not in (*WITHOUT_THE_WORDS, "image", "audio", "video")
    ],
)
def test_a_document_is_one_asset_with_its_words(
    tmp_path: Path, kind: str, name: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / name)
    asset = identify(tmp_path / name, CONFIG)
    assert kind_of(asset.media_type).name == kind
    with ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(tmp_path / name, "without suffix")
    for path in (tmp_path / name, tmp_path / "outer.zip"):
        failures: list[Failure] = []
        found = [*ingest(path, CONFIG, failures.append)]
        text = " ".join(" ".join(s.content.split()) for s in found if s.modality == TEXT)
        assert WORDS in text
        assert not failures
        assert len({segment.asset_id for segment in found}) == 1
        for markup in ("BEGIN:", "MIME-Version", "Content-Type", "=C3", "xmlns"):
            assert markup not in text


@pytest.mark.moderate
@pytest.mark.parametrize("kind", [kind.name for kind in OURS])
def test_each_kind_keeps_the_contract(tmp_path: Path, kind: str) -> None:
    (tmp_path / "damaged").mkdir()
    for name, write in SAMPLES[kind].items():
        write(tmp_path / name)
    check_kind(kind, [tmp_path / name for name in SAMPLES[kind]], tmp_path / "damaged")


def test_what_people_look_for_in_an_entry(tmp_path: Path) -> None:
    write_vcf(tmp_path / "a.vcf")
    write_ics(tmp_path / "a.ics")
    (card,), (event,) = (
        [*segments(identify(tmp_path / name, CONFIG), CONFIG)] for name in ("a.vcf", "a.ics")
    )
    assert card.content.splitlines()[:3] == [
        "Jürgen Ferry",
        "Mail: jf@example.org",
        "Phone: +49 431 1",
    ]
    assert "From: Monday, 3 March 2025, 09:00\nPlace: Kiel, quay 3" in event.content


def test_office_files_say_when_they_were_made(tmp_path: Path) -> None:
    document, slides, sheets = Document(), Presentation(), Workbook()
    document.add_paragraph(WORDS)
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = WORDS
    sheets.active.append([WORDS])
    for made in (document.core_properties, slides.core_properties, sheets.properties):
        made.created = datetime(2021, 3, 4, 10)
    document.save(str(tmp_path / "a.docx"))
    slides.save(str(tmp_path / "a.pptx"))
    sheets.save(tmp_path / "a.xlsx")
    for path in tmp_path.iterdir():
        assert identify(path, CONFIG).metadata["created"] == "2021-03-04"


def empty_docx(path: Path) -> None:
    document = Document()
    document.core_properties.title = "Letterhead"
    document.save(str(path))


def empty_pptx(path: Path) -> None:
    slides = Presentation()
    slides.core_properties.title = "Letterhead"
    slides.slides.add_slide(slides.slide_layouts[6])
    slides.save(str(path))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.docx", empty_docx),
        ("a.pptx", empty_pptx),
        ("a.xlsx", lambda path: Workbook().save(path)),
        ("a.odt", lambda path: documents.write_odf(path, [])),
        ("a.odp", lambda path: documents.write_odf(path, [])),
        ("a.ppt", lambda path: write_ole(path, {"PowerPoint Document": bytes(600)})),
        ("a.key", lambda path: zipped(path, {"Index/Document.iwa": bytes(9)})),
        ("a.svgz.txt", lambda path: path.write_text("  \n")),
    ],
)
def test_a_file_of_nothing_but_a_name_is_set_aside(
    tmp_path: Path, name: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / name)
    with pytest.raises(UnsupportedMediaError, match=r"neither text nor pictures|no text") as caught:
        list(segments(identify(tmp_path / name, CONFIG), CONFIG))
    assert caught.value.remedy


def test_what_the_cells_of_a_notebook_printed_and_drew(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.fromarray(pixels(90, 80)).save(png, "PNG")
    drawn = {"text/plain": ["<Figure>"], "image/png": b64encode(png.getvalue()).decode()}
    table = {"text/plain": "   a", "text/html": "<style>p {}</style><table><td>Kiel</table>"}
    outputs = [
        {"output_type": "stream", "text": [WORDS, "\n"]},
        {"output_type": "execute_result", "data": table},
        {"output_type": "display_data", "data": drawn},
    ]
    cell = {"cell_type": "code", "source": "show(timetable)", "outputs": outputs}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    *texts, picture = segments(identify(tmp_path / "a.ipynb", CONFIG), CONFIG)
    assert [s.content for s in texts] == ["show(timetable)", WORDS, "Kiel", "<Figure>"]
    assert {json.loads(s.place)["cell"] for s in (*texts, picture)} == {1}
    assert picture.content.shape == (80, 90, 3)


def test_pictures_in_a_sheet(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["what"])
    book.active.append([WORDS])
    book.active.add_image(SheetImage(io.BytesIO(jpeg())), "C3")
    book.save(tmp_path / "a.xlsx")
    found = [*segments(identify(tmp_path / "a.xlsx", CONFIG), CONFIG)]
    assert [segment.modality for segment in found] == [TEXT, IMAGE]


def test_a_raw_photo_is_the_largest_jpeg_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nef"
    Image.fromarray(pixels(80, 60)).save(path, "TIFF")
    path.write_bytes(path.read_bytes() + jpeg(120, 80) + bytes(99) + jpeg(900, 600))
    asset = identify(path, CONFIG)
    assert (asset.media_type, asset.metadata["width"]) == ("image/x-raw", 900)
    (shown,) = segments(asset, CONFIG)
    assert shown.content.shape == (512, 768, 3)
    assert picture(asset, Place(), CONFIG).content.shape == (512, 768, 3)


def write_camera_film(path: Path) -> None:
    film = write_film(path.with_suffix(".ts"), seconds=2.0)
    with (
        av.open(str(film)) as source,
        av.open(str(path), "w", format="mpegts", options={"mpegts_m2ts_mode": "1"}) as copy,
    ):
        streams = {stream: copy.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream]
                copy.mux(packet)


def write_sound(path: Path) -> None:
    codec = {
        ".ac3": "ac3",
        ".caf": "pcm_s16le",
        ".wv": "wavpack",
        ".tta": "tta",
        ".au": "pcm_s16be",
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec[path.suffix], rate=48_000, layout="mono")
        samples = tone(2.0, 48_000)
        wanted = stream.codec_context.format or av.AudioFormat("s16")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        for part in av.AudioResampler(wanted, "mono", 48_000, 1_024).resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def write_amr(path: Path) -> None:
    frame = bytes([0x3C]) + np.random.default_rng(0).bytes(31)
    path.write_bytes(b"#!AMR\n" + frame * 150)  # three seconds at 12.2 kbit/s


@pytest.mark.parametrize(
    ("name", "write", "modality"),
    [
        ("a.mts", write_camera_film, "video"),
        ("a.amr", write_amr, "audio"),
        *((f"a.{suffix}", write_sound, "audio") for suffix in ("ac3", "caf", "wv", "tta", "au")),
    ],
)
def test_sound_and_films(
    tmp_path: Path, name: str, write: Callable[[Path], None], modality: str
) -> None:
    write(tmp_path / name)
    asset = identify(tmp_path / name, CONFIG)
    assert asset.modality == modality
    assert list(segments(asset, CONFIG))


def test_programs_are_set_aside_whole(tmp_path: Path) -> None:
    zipped(
        tmp_path / "a.jar", {"META-INF/MANIFEST.MF": "Manifest-Version: 1.0", "a.xml": "<a>b</a>"}
    )
    failures: list[Failure] = []
    assert not list(ingest(tmp_path / "a.jar", CONFIG, failures.append))
    assert "a Java program" in failures[0].reason
