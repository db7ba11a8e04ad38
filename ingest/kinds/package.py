"""Documents that are ZIP files of XML and that no other library reads: their text and a preview."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import iterparse
from zipfile import ZipFile

from encoder.errors import MediaError
from encoder.media.source import decoding, opened
from encoder.types import IMAGE
from ingest.config import IngestConfig, check
from ingest.kinds.contract import Place
from ingest.kinds.documents import Figure, figure_segments
from ingest.kinds.iwork import iwork_texts
from ingest.kinds.office import Zipped
from ingest.kinds.pdf import first_page
from ingest.kinds.windows import Section, document_segments
from ingest.kinds.zip_type import zip_type
from ingest.types import Asset, Fact, Segment


class _Format(NamedTuple):
    """Which parts have text (a regular expression), in which elements or attributes of them."""

    parts: str = "$"
    texts: Mapping[str, str] = {}


_IWORK = "application/vnd.apple.iwork"
_SUN = _Format(r"content\.xml", {"p": "", "h": ""})
_FORMATS = {
    "application/vnd.ms-xpsdocument": _Format(r".*\.fpage", {"Glyphs": "UnicodeString"}),
    "application/vnd.ms-visio.drawing": _Format(r"visio/pages/page\d+\.xml", {"Text": ""}),
    "application/vnd.adobe.indesign-idml-package": _Format(r"Stories/.*\.xml", {"Content": ""}),
    _IWORK: _Format(
        r"(.*/)?(index\.(xml|apxl)(\.gz)?|Index\.zip|(Document|Slide[-\d]*|DataList[-\d]*)\.iwa)",
        {"p": "", "ct": "{http://developer.apple.com/namespaces/sfa}s"},
    ),
    "application/x-krita": _Format(),
    "image/openraster": _Format(),
    **{
        f"application/vnd.sun.xml.{program}{of}": _SUN
        for program in ("writer", "calc", "impress", "draw")
        for of in ("", ".template")
    },
}
_PREVIEWS = (
    r"mergedimage\.png",
    r"(.*/)?QuickLook/Preview\.pdf",
    r"(.*/)?preview\.(png|jpg)",
    r"(.*/)?([Tt]humbnails?|QuickLook|docProps)/[Tt]humbnail\.\w+",
)
"""The best first."""


class Package(Zipped):
    """XPS, Visio, InDesign, Pages and its kin, and others."""

    name = "package"
    label = "Other document"
    formats = ("XPS", "Visio (.vsdx)", "Pages", "Numbers", "Keynote", "InDesign (.idml)", "Krita")
    suffixes = (
        *(".xps", ".oxps", ".vsdx", ".pages", ".numbers", ".key", ".idml", ".kra", ".ora"),
        *(".sxw", ".sxc", ".sxi", ".sxd"),
    )
    media_types = tuple(_FORMATS)
    shows = True

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        return {"title": path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the text of each part, and the preview that its program made."""
        with opened(path) as file, decoding(path, "a document"), ZipFile(file) as members:
            sections = [*_sections(members, _FORMATS[zip_type(path)], config)]
            previews = [*_previews(asset, path, members, config)]
        return document_segments(asset, path, sections, previews, config)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:
        with opened(path) as file, decoding(path, "a document"), ZipFile(file) as members:
            first_preview = next(_previews(asset, path, members, config), None)
        return first_preview or super().preview(asset, path, place, config)


def _sections(members: ZipFile, format_: _Format, config: IngestConfig) -> Iterator[Section]:
    n_bytes = sum(entry.file_size for entry in members.infolist())
    check(str(members.filename), "max_document_bytes", n_bytes, config)
    parts = [name for name in members.namelist() if re.fullmatch(format_.parts, name)]
    for name in sorted(parts, key=lambda part: (len(part), part)):  # page 10 after page 9
        data = members.read(name)
        if name.endswith(".zip"):  # Pages and its kin, saved as a folder
            with ZipFile(io.BytesIO(data)) as inner:
                yield from _sections(inner, format_, config)
            continue
        if name.endswith(".gz"):
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(config.max_document_bytes)
        lines = iwork_texts(data) if name.endswith(".iwa") else _lines(data, format_.texts)
        yield Section("\n".join(dict.fromkeys(filter(str.strip, lines))))


def _lines(data: bytes, texts: Mapping[str, str]) -> Iterator[str]:
    # Python's expat neither fetches external entities nor lets internal ones grow without end.
    for _, element in iterparse(io.BytesIO(data)):
        attribute = texts.get(element.tag.rpartition("}")[2])
        if attribute is not None:
            text = element.get(attribute, "") if attribute else "".join(element.itertext())
            yield " ".join(text.split())


def _previews(
    asset: Asset, path: Path, members: ZipFile, config: IngestConfig
) -> Iterator[Segment]:
    """The best one that can be decoded, if there is any."""
    for pattern in _PREVIEWS:
        for name in filter(re.compile(pattern).fullmatch, members.namelist()):
            with suppress(MediaError):
                if name.endswith(".pdf"):
                    yield Segment(asset.asset_id, IMAGE, 0, first_page(members.read(name), config))
                    return
            for figure in figure_segments(asset, path, [Figure(members.read(name), {})], config):
                yield figure
                return
