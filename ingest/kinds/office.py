"""Documents of office programs, books and mails, by kreuzberg, which turns them into Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from encoder.errors import CorruptMediaError
from encoder.media.source import opened
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.decode.charset import read_bytes
from ingest.decode.figures import figure_segments, figures_of, without_links
from ingest.decode.headings import sections_by_heading, title_of
from ingest.decode.office.cells import Grid, cells_of, grids
from ingest.decode.office.odf import slides
from ingest.decode.windows import Section, at_least_title, joined_text, text_segments
from ingest.kinds.archive import members_of, unpacking
from ingest.kinds.attachments import attached_to, is_mail
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.types import Asset, Fact, Segment

_ZIP = b"PK\x03\x04"
_MARK = "\ue000"  # private characters, which no text has
_WITH_SLIDES = (
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "application/vnd.ms-powerpoint",
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_RULE = re.compile(r"(?m)^-{3,}$")  # stands for a slide without a title


_FORMS = {"format_type", "core_properties", "app_properties", "custom_properties"}
"""What kreuzberg reports for every file, even a damaged one."""


class Office(Kind):
    """What all of them share: a document becomes sections under their headings, and pictures."""

    modality = TEXT
    max_bytes = "max_document_bytes"
    media_type: ClassVar[str]

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title, authors, and how many pages, slides or sheets there are, where it says so."""
        facts = _extracted(path, self.media_type).metadata
        found: dict[str, Fact] = {"title": title_of(_title(facts), path.stem)}
        authors = facts.get("authors") or facts.get("from_email")
        if authors:
            found["author"] = ", ".join(authors) if isinstance(authors, list) else str(authors)
        return found

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the text, each with its heading, slide or sheet; then the pictures."""
        extracted = _extracted(path, self.media_type)
        sections = list(self._sections(extracted, path))
        figures = figures_of(extracted, sections, on_slides=self.media_type in _WITH_SLIDES)
        pictures = list(figure_segments(asset, path, figures, config))
        texts = [without_links(section) for section in sections]
        if not pictures and _is_made_by_a_program(extracted.metadata):
            texts = at_least_title(asset, texts)
        if any(section.text.strip() for section in texts) or not pictures:
            yield from text_segments(asset, path, texts, config, markdown=True)
        yield from pictures

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> str:  # noqa: ARG002
        """The text."""
        return joined_text(segments)

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        return sections_by_heading(extracted.content)


def _is_made_by_a_program(metadata: Mapping[str, Any]) -> bool:
    """Whether a document says anything about itself; a damaged one without text does not."""
    return any(value for name, value in metadata.items() if name not in _FORMS)


class _Zipped(Office):
    """A ZIP file whose first entry names the type (ODF and EPUB)."""

    def sniff(self, head: Head) -> Match | None:
        """By the first entry, which is not compressed."""
        if not head.data.startswith(_ZIP) or head.data[30:38] != b"mimetype":
            return None
        named = head.data[38:200].partition(b"PK")[0].decode("ascii", "replace")
        return Match(named) if named in self.media_types else None


class _OpenXml(Office):
    """A ZIP file that contains ``part``; only its directory, at the end, shows that."""

    part: ClassVar[str]

    def sniff(self, head: Head) -> Match | None:
        """Any ZIP file that starts as these do."""
        names = (b"[Content_Types].xml", b"_rels/", b"docProps/", self.part.encode())
        starts = head.data.startswith(_ZIP) and head.data[30:].startswith(names)
        return Match(self.media_type) if starts else None

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        """Whether the part is there."""
        from zipfile import BadZipFile, ZipFile

        try:
            with opened(path) as file, ZipFile(file) as members:
                return any(name.startswith(self.part) for name in members.namelist())
        except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise CorruptMediaError(
                f"{path} is a damaged document ({error}).", remedy="Save or export it again."
            ) from error


class Word(_OpenXml):
    """.docx"""

    name, formats, suffixes = "docx", ("Word (.docx)",), (".docx", ".docm", ".dotx")
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    media_types = frozenset({media_type})
    part = "word/"


class Powerpoint(_OpenXml):
    """.pptx"""

    name, formats, suffixes = "pptx", ("PowerPoint (.pptx)",), (".pptx", ".pptm", ".ppsx")
    media_type = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    media_types = frozenset({media_type})
    part = "ppt/"

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        return by_slide(extracted.content)


class Excel(_OpenXml):
    """.xlsx"""

    name, formats, suffixes = "xlsx", ("Excel (.xlsx)",), (".xlsx", ".xlsm")
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    media_types = frozenset({media_type})
    part = "xl/"

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:
        return by_sheet(extracted.content, grids(path))


class Text(_Zipped):
    """.odt"""

    name, formats, suffixes = "odt", ("OpenDocument",), (".odt", ".ott")
    media_type = "application/vnd.oasis.opendocument.text"
    media_types = frozenset({media_type, f"{media_type}-template"})


class Spreadsheet(_Zipped):
    """.ods"""

    name, formats, suffixes = "ods", ("OpenDocument",), (".ods", ".ots")
    media_type = "application/vnd.oasis.opendocument.spreadsheet"
    media_types = frozenset({media_type, f"{media_type}-template"})

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:
        return by_sheet(extracted.content, grids(path))


class Presentation(_Zipped):
    """.odp, and drawings (.odg), whose pages are read like slides."""

    name, formats, suffixes = "odp", ("OpenDocument",), (".odp", ".otp", ".odg")
    media_type = "application/vnd.oasis.opendocument.presentation"
    _drawing = "application/vnd.oasis.opendocument.graphics"
    media_types = frozenset(
        {media_type, f"{media_type}-template", _drawing, f"{_drawing}-template"}
    )

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the file's stem."""
        return {"title": path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of each slide."""
        sections = at_least_title(asset, slides(path, config.max_document_bytes))
        return text_segments(asset, path, sections, config)


class Epub(_Zipped):
    """.epub"""

    name, formats, suffixes = "epub", ("EPUB",), (".epub",)
    media_type = "application/epub+zip"
    media_types = frozenset({media_type})


class Rtf(Office):
    """.rtf"""

    name, formats, suffixes = "rtf", ("RTF",), (".rtf",)
    media_type = "application/rtf"
    media_types = frozenset({media_type})

    def sniff(self, head: Head) -> Match | None:
        """By its first group."""
        return Match(self.media_type) if head.data.startswith(b"{\\rtf") else None


class Mail(Office):
    """.eml"""

    name, formats, suffixes = "eml", ("mail (.eml, .msg)",), (".eml",)
    media_type = "message/rfc822"
    media_types = frozenset({media_type})
    holds_files = True

    def sniff(self, head: Head) -> Match | None:
        """By its header."""
        found = head.is_text and is_mail(head.data)
        return Match(self.media_type, 0.8) if found else None

    def members(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Its attachments, and those of the mails in it."""
        files = attached_to(read_bytes(path), str(path))
        return members_of(asset, unpacking(asset, config).counted(files))

    def _sections(self, extracted: Any, path: Path) -> Iterator[Section]:  # noqa: ARG002
        yield Section(extracted.content)


def by_slide(markdown: str) -> Iterator[Section]:
    """The text of each slide."""
    # Split at the marks, each part follows the number of its slide.
    _, *parts = markdown.split(_MARK)
    for number, text in zip(parts[::2], parts[1::2], strict=True):
        yield Section(_RULE.sub("", text).strip(), {"slide": int(number)})


def by_sheet(markdown: str, found: Mapping[str, Grid]) -> Iterator[Section]:
    """The table of each sheet, with its cells where they are ``found``."""
    for section in sections_by_heading(markdown):
        heading = _ESCAPED.sub(r"\1", str(section.place.get("heading", "")))
        cells = cells_of(section.text, found[heading]) if heading in found else None
        yield Section(section.text, {"sheet": heading} if heading else {}, cells=cells)


def _title(facts: Mapping[str, Any]) -> str:
    return str(facts.get("title") or facts.get("subject") or "")


def _extracted(path: Path, media_type: str) -> Any:
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
        return extract_bytes_sync(read_bytes(path), media_type, config=config)
    except (KreuzbergError, ValueError) as error:
        raise CorruptMediaError(
            f"{path} cannot be read as {media_type}: {error}.",
            remedy="Open it in its own program and save or export it again.",
        ) from error
