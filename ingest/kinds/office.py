"""Documents of office programs and books, by kreuzberg, which turns them into Markdown."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree.ElementTree import fromstring
from zipfile import BadZipFile, ZipFile

from encoder.errors import CorruptMediaError, UnsupportedMediaError
from encoder.media.source import decoding
from encoder.types import TEXT
from ingest.config import IngestConfig, check
from ingest.kinds.charset import declared_charset, decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.documents import (
    Figure,
    figure_segments,
    figures_in,
    figures_of,
    sections_by_heading,
    title_of,
    without_links,
)
from ingest.kinds.head import Head, Match
from ingest.kinds.outlook import OLE
from ingest.kinds.windows import Section, document_segments
from ingest.kinds.zip_type import ZIP
from ingest.types import Asset, Fact, Segment

_MARK = "\ue000"  # private characters, which no text has
_WITH_SLIDES = (
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.ms-powerpoint",
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_UNREAD = re.compile(rb"<(/?)text:(list-header|numbered-paragraph)\b")
_READ_AS = {b"list-header": b"list-item", b"numbered-paragraph": b"section"}
_INDENTED = re.compile(rb">\s*\n\s*<")
_MANIFEST = b'<manifest xmlns="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_REFERENCE = re.compile(r"&#(9|32|160);")  # kreuzberg's, of tabs and spaces
_RULE = re.compile(r"(?m)^-{3,}$")  # stands for a slide without a title


def by_slide(markdown: str) -> Iterator[Section]:
    """The text of each slide; of a .ppt file, whose slides kreuzberg does not mark, of all."""
    # Split at the marks, each part follows the number of its slide.
    unmarked_text, *parts = markdown.split(_MARK)
    if unmarked := _RULE.sub("", unmarked_text).strip():
        yield Section(unmarked)
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        yield Section(_RULE.sub("", text).strip(), {"slide": int(number)})


def by_sheet(markdown: str) -> Iterator[Section]:
    """The table of each sheet."""
    for section in sections_by_heading(markdown):
        if "\n" not in section.text:  # an empty sheet
            continue
        heading = _ESCAPED.sub(r"\1", str(section.place.get("heading", "")))
        yield Section(section.text, {"sheet": heading} if heading else {})


class Office(Kind):
    """What all of them share: a document becomes sections under their headings, and pictures."""

    modality = TEXT
    max_bytes = "max_document_bytes"
    media_types: ClassVar[tuple[str, ...]]

    @property
    def media_type(self) -> str:
        """The name by which kreuzberg knows it."""
        return self.media_types[0]

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title, authors and the day when it was made, where it says so."""
        facts = _extracted(path, self._data(path, config), self.media_type).metadata
        described: dict[str, Fact] = {"title": title_of(_title(facts), path.stem)}
        authors = facts.get("authors")
        if authors:
            described["author"] = ", ".join(authors) if isinstance(authors, list) else str(authors)
        if created := _DAY.match(str(facts.get("created_at"))):
            described["created"] = created[0]
        return described

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the text, each with its heading, slide or sheet; then the pictures."""
        extracted = _extracted(path, self._data(path, config), self.media_type)
        markdown = _REFERENCE.sub(lambda number: chr(int(number[1])), extracted.content)
        sections = list(self.sections(markdown))
        figures = figures_of(extracted, sections, on_slides=self.media_type in _WITH_SLIDES)
        figures = figures or self._pictures(path, config)
        pictures = figure_segments(asset, path, figures, config)
        texts = [without_links(section) for section in sections]
        return document_segments(asset, path, texts, pictures, config, markdown=True)

    @staticmethod
    def sections(markdown: str) -> Iterator[Section]:
        """Cut what kreuzberg returns into chapters, slides or sheets."""
        return sections_by_heading(markdown)

    def _data(self, path: Path, config: IngestConfig) -> bytes:  # noqa: ARG002
        """The bytes that kreuzberg is given."""
        return read_bytes(path)

    def _pictures(self, path: Path, config: IngestConfig) -> list[Figure]:  # noqa: ARG002
        """Its pictures where kreuzberg finds none."""
        return []


class Zipped(Office):
    """A ZIP file; its directory, at the end, shows which document it is.

    ``media_types`` are those of `zip_type`; `sniff` returns one of them for any ZIP file.
    """

    pictures: ClassVar[str] = ""
    """The folder of its pictures, which kreuzberg does not find in it."""

    def sniff(self, head: Head) -> Match | None:
        return Match(self.media_type, 0.88) if head.data.startswith(ZIP) else None

    def _pictures(self, path: Path, config: IngestConfig) -> list[Figure]:
        is_zip = self.pictures and read_bytes(path, len(ZIP)) == ZIP
        return figures_in(path, self.pictures, config) if is_zip else []


class Word(Zipped):
    """.docx"""

    name, formats, suffixes = "docx", ("Word (.docx)",), (".docx", ".docm", ".dotx")
    media_types = ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",)
    pictures = "word/media/"


class Powerpoint(Zipped):
    """.pptx"""

    name, formats, suffixes = "pptx", ("PowerPoint (.pptx)",), (".pptx", ".pptm", ".ppsx")
    media_types = ("application/vnd.openxmlformats-officedocument.presentationml.presentation",)
    pictures = "ppt/media/"
    sections = staticmethod(by_slide)


class Excel(Zipped):
    """.xlsx"""

    name, formats = "xlsx", ("Excel (.xlsx)",)
    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm")
    media_types = ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",)
    pictures = "xl/media/"
    sections = staticmethod(by_sheet)


class BinaryExcel(Excel):
    """.xlsb"""

    name, formats, suffixes = "xlsb", ("Excel (.xlsb)",), (".xlsb",)
    media_types = ("application/vnd.ms-excel.sheet.binary.macroEnabled.12",)


class _OpenDocument(Zipped):
    """A ZIP file, or its parts in one XML file, as LibreOffice saves "flat" ones."""

    def sniff(self, head: Head) -> Match | None:
        is_flat = head.is_text and f'office:mimetype="{self.media_type}"'.encode() in head.data
        return Match(self.media_type, 0.85) if is_flat else super().sniff(head)

    def _data(self, path: Path, config: IngestConfig) -> bytes:
        data = read_bytes(path)
        if data.startswith(ZIP):
            return with_list_headers(data, config.max_document_bytes)
        content = _INDENTED.sub(b"><", _with_list_items(data))
        parts = dict.fromkeys(("content.xml", "styles.xml", "meta.xml"), content)
        packed = io.BytesIO()
        with ZipFile(packed, "w") as members:
            members.writestr("mimetype", self.media_type)
            for name, part in {"META-INF/manifest.xml": _MANIFEST, **parts}.items():
                members.writestr(name, part)
        return packed.getvalue()


class OpenText(_OpenDocument):
    """.odt"""

    name, formats, suffixes = "odt", ("OpenDocument",), (".odt", ".ott", ".fodt")
    media_types = (
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.text-template",
    )


class OpenSpreadsheet(_OpenDocument):
    """.ods"""

    name, formats, suffixes = "ods", ("OpenDocument",), (".ods", ".ots", ".fods")
    media_types = (
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.spreadsheet-template",
    )
    sections = staticmethod(by_sheet)


class OpenPresentation(_OpenDocument):
    """.odp, and drawings (.odg), whose pages are read like slides."""

    name, formats, suffixes = "odp", ("OpenDocument",), (".odp", ".otp", ".odg", ".fodp")
    media_types = (
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.presentation-template",
        "application/vnd.oasis.opendocument.graphics",
        "application/vnd.oasis.opendocument.graphics-template",
    )
    pictures = "Pictures/"

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        return {"title": path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        sections = list(_slides(path, self._data(path, config), config))
        pictures = figure_segments(asset, path, self._pictures(path, config), config)
        return document_segments(asset, path, sections, pictures, config)


class Epub(Zipped):
    """.epub"""

    name, formats, suffixes = "epub", ("EPUB",), (".epub",)
    media_types = ("application/epub+zip",)


class FictionBook(Office):
    """.fb2"""

    name, formats, suffixes = "fb2", ("FictionBook",), (".fb2",)
    media_types = ("application/x-fictionbook+xml",)

    def sniff(self, head: Head) -> Match | None:
        is_book = head.is_text and b"<FictionBook" in head.start[:1000]
        return Match(self.media_type, 0.85) if is_book else None

    def _data(self, path: Path, config: IngestConfig) -> bytes:  # noqa: ARG002
        """In UTF-8, whatever it declares, since kreuzberg reads no other."""
        data = read_bytes(path)
        return decode_bytes(data, declared_charset(data)).encode()


class Rtf(Office):
    """.rtf"""

    name, formats, suffixes = "rtf", ("RTF",), (".rtf",)
    media_types = ("application/rtf",)

    def sniff(self, head: Head) -> Match | None:
        return Match(self.media_type) if head.data.startswith(b"{\\rtf") else None


def _slides(path: Path, data: bytes, config: IngestConfig) -> Iterator[Section]:
    """The paragraphs of each slide of an OpenDocument presentation; notes come last.

    kreuzberg does not read them.
    """
    with decoding(path, "an OpenDocument presentation"):
        with ZipFile(io.BytesIO(data)) as members:
            n_bytes = members.getinfo("content.xml").file_size
            check(str(path), "max_document_bytes", n_bytes, config)
            # Python's expat neither fetches external entities nor lets internal ones grow.
            pages = fromstring(members.read("content.xml")).iter(f"{_DRAW}page")
        for number, page in enumerate(pages, 1):
            lines = ("".join(p.itertext()).strip() for p in page.iter(f"{_TEXT}p"))
            yield Section("\n".join(line for line in lines if line), {"slide": number})


def _title(facts: Mapping[str, Any]) -> str:
    return str(facts.get("title") or facts.get("subject") or "")


def _extracted(path: Path, data: bytes, media_type: str) -> Any:
    # Imported with the first document, even in a decoder process: it maps 100 MB.
    from kreuzberg import (
        ExtractionConfig,
        ImageExtractionConfig,
        KreuzbergError,
        PageConfig,
        extract_bytes_sync,
    )

    slides_only = media_type in _WITH_SLIDES
    config = ExtractionConfig(
        use_cache=False,
        disable_ocr=True,  # type: ignore[call-arg]  # it does exist
        output_format="markdown",
        images=ImageExtractionConfig(extract_images=True),
        pages=PageConfig(
            insert_page_markers=slides_only, marker_format=f"\n{_MARK}{{page_num}}{_MARK}\n"
        ),
    )
    try:
        return extract_bytes_sync(data, media_type, config=config)
    except BaseException as error:
        # Its Rust code panics on some damaged files, which is no Exception.
        panicked = type(error).__name__ == "PanicException"
        if not panicked and not isinstance(error, KreuzbergError | ValueError):
            raise
        raise CorruptMediaError(
            f"{path} cannot be read as {media_type}: {error}.",
            remedy="Open it in its own program, or in LibreOffice, and save or export it again.",
        ) from error


def _with_list_items(content: bytes) -> bytes:
    return _UNREAD.sub(lambda tag: b"<%btext:%b" % (tag[1], _READ_AS[tag[2]]), content)


def with_list_headers(data: bytes, max_bytes: int) -> bytes:
    """A text document whose list headers and numbered paragraphs are elements that kreuzberg reads.

    Unchanged if it has none, is damaged, or unpacks to more than ``max_bytes``.
    """
    try:
        with ZipFile(io.BytesIO(data)) as members:
            if members.getinfo("content.xml").file_size > max_bytes:
                return data
            content = members.read("content.xml")
            if not _UNREAD.search(content):
                return data
            rewritten = io.BytesIO()
            with ZipFile(rewritten, "w") as copy:
                for entry in members.infolist():
                    if entry.filename != "content.xml":
                        copy.writestr(entry, members.read(entry))
                copy.writestr("content.xml", _with_list_items(content))
    except (BadZipFile, KeyError, OSError, EOFError, RuntimeError, zlib.error):
        return data  # kreuzberg says what is wrong with it
    return rewritten.getvalue()


class Ole(Kind):
    """An OLE file with a stream of one of these names; its directory can be anywhere."""

    media_types: ClassVar[tuple[str, ...]]
    streams: ClassVar[tuple[bytes, ...]]
    """Names of which one has to be there, in UTF-16."""

    def sniff(self, head: Head) -> Match | None:
        return Match(self.media_types[0], 0.85) if head.data.startswith(OLE) else None

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        """Whether the stream is there.

        Raises:
            UnsupportedMediaError: it is encrypted.
        """
        data = read_bytes(path)
        if _ENCRYPTED in data:
            raise UnsupportedMediaError(
                f"{path} is an encrypted document.", remedy="Save it without a password."
            )
        return any(name in data for name in self.streams)


class OldWord(Ole, Office):
    """.doc"""

    name, formats, suffixes = "doc", ("Word (.doc)",), (".doc", ".dot")
    media_types = ("application/msword",)
    streams = ("WordDocument".encode("utf-16-le"),)


class OldPowerpoint(Ole, Office):
    """.ppt"""

    name, formats, suffixes = "ppt", ("PowerPoint (.ppt)",), (".ppt", ".pps")
    media_types = ("application/vnd.ms-powerpoint",)
    streams = ("PowerPoint Document".encode("utf-16-le"),)
    sections = staticmethod(by_slide)


class OldExcel(Ole, Office):
    """.xls"""

    name, formats, suffixes = "xls", ("Excel (.xls)",), (".xls", ".xlt")
    media_types = ("application/vnd.ms-excel",)
    streams = ("Workbook\0".encode("utf-16-le"), "Book\0".encode("utf-16-le"))
    sections = staticmethod(by_sheet)
