"""What documents share: sections under headings, titles that say something, pictures."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from encoder.errors import MediaError
from encoder.media.image import image_facts, load_image
from encoder.media.source import decoding, opened
from encoder.types import IMAGE
from ingest.config import IngestConfig, check
from ingest.kinds.windows import Section
from ingest.types import Asset, Segment

_HEADING = re.compile(r"(?m)^(#{1,6}) +(.+?) *#*$")
_PATH_CHARS = 200
_JOIN = " › "
# What programs call a document that nobody gave a title.
_NO_TITLE = re.compile(
    r"(microsoft (word|powerpoint|excel)( - .*)?|untitled.*|(new |neues )?(document|dokument|"
    r"presentation|präsentation|powerpoint presentation|powerpoint-präsentation|slide|folie|book|"
    r"mappe|sheet|scan|page|seite|blank page)[ _-]*\d*|unbenannt.*|ohne titel.*|sans titre.*|"
    r"无标题.*|未命名.*|文档 ?\d*|.*\.(docx?|pptx?|xlsx?|odt|ods|odp|rtf|pdf|indd|tex|dvi|qxd))",
    re.IGNORECASE,
)


def sections_by_heading(markdown: str) -> Iterator[Section]:
    """The text under each heading, with the heading, and the path of headings as its place.

    >>> [s.place for s in sections_by_heading("# A\\nx\\n## B\\ny\\n# C\\nz")]
    [{'heading': 'A'}, {'heading': 'A › B'}, {'heading': 'C'}]
    """
    starts = [*_HEADING.finditer(markdown)]
    first = starts[0].start() if starts else len(markdown)
    if markdown[:first].strip():
        yield Section(markdown[:first].strip())
    path: list[tuple[int, str]] = []
    ends = [match.start() for match in starts[1:]] + [len(markdown)]
    for match, end in zip(starts, ends, strict=False):
        level = len(match[1])
        path = [above for above in path if above[0] < level]
        path.append((level, match[2].strip()))
        heading = _JOIN.join(name for _, name in path)[-_PATH_CHARS:]
        yield Section(markdown[match.start() : end].strip(), {"heading": heading})


def title_of(declared: str, otherwise: str) -> str:
    """The title that a document declares, if that says something; else the other.

    >>> title_of("Untitled 1", "ferries"), title_of("The harbour", "ferries")
    ('ferries', 'The harbour')
    """
    declared = " ".join(declared.split())[:200]
    return declared if declared and not _NO_TITLE.fullmatch(declared) else otherwise


logger = logging.getLogger(__name__)

LEAST_PX = 64
"""A picture that is smaller than this on one side is a bullet, a line or an icon."""

_LINK = re.compile(r"\\?!\[((?:[^\]\\]|\\.)*)\]\([^)\n]*\)")
_FILE_NAME = re.compile(r"\S+\.\w{2,5}")


@dataclass(frozen=True)
class Figure:
    """The bytes of a picture, and where in the document it is."""

    data: bytes
    place: Mapping[str, str | int]


def figure_segments(
    asset: Asset, path: Path, figures: Iterable[Figure], config: IngestConfig
) -> Iterator[Segment]:
    """Each picture once, with its number, from 1, in its place.

    Small pictures are left out; so are those that cannot be decoded, such as EMF drawings, which
    are logged.

    Raises:
        MediaLimitError: more pictures than ``max_frames``.
    """
    digests = set[bytes]()
    index = 0
    for number, figure in enumerate(figures, 1):
        check(str(path), "max_frames", number, config)
        if figure.data in digests:
            continue
        digests.add(figure.data)
        try:
            facts = image_facts(figure.data)
            if min(facts.width, facts.height) < LEAST_PX:
                continue
            rgb = load_image(figure.data, config.image_short_side, config.max_pixels)
        except MediaError as error:
            logger.info("picture %d in %s left out: %s", number, path, error)
            continue
        place = json.dumps({**figure.place, "picture": number}, ensure_ascii=False)
        yield Segment(asset.asset_id, IMAGE, index, rgb, place=place)
        index += 1


def figures_of(extracted: Any, sections: Sequence[Section], *, on_slides: bool) -> list[Figure]:
    """The pictures of a document that kreuzberg read, with their slide or heading.

    Args:
        extracted: what kreuzberg returned.
        sections: the text, with a link for each picture.
        on_slides: whether a page is a slide.
    """
    images = extracted.images or []
    places = [section.place for section in sections for _ in _LINK.finditer(section.text)]
    if len(places) != len(images):
        places = [{} for _ in images]
    return [
        Figure(image["data"], {"slide": image["page_number"]} if on_slides else dict(place))  # type: ignore[arg-type]
        for image, place in zip(images, places, strict=True)
    ]


def figures_in(path: Path, folder: str, config: IngestConfig) -> list[Figure]:
    """The pictures in a folder of a document that is a ZIP file.

    Raises:
        MediaLimitError: they unpack to more than ``max_document_bytes``.
    """
    with opened(path) as file, decoding(path, "a document"), ZipFile(file) as members:
        entries = [info for info in members.infolist() if info.filename.startswith(folder)]
        n_bytes = sum(entry.file_size for entry in entries)
        check(str(path), "max_document_bytes", n_bytes, config)
        return [Figure(members.read(entry), {}) for entry in entries]


def without_links(section: Section) -> Section:
    """The section with each link to a picture replaced by the picture's name, if it has one."""
    text = _LINK.sub(lambda link: "" if _FILE_NAME.fullmatch(link[1]) else link[1], section.text)
    return replace(section, text=text)
