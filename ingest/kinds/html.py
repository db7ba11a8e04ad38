"""HTML pages, and pages saved as one file (.mht): the text that a reader sees."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from email import message_from_bytes, policy
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from encoder.errors import MediaLimitError
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.attachments import content_of, is_saved_page
from ingest.kinds.charset import declared_charset, decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.documents import Figure, figure_segments
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import Section, document_segments, text_segments
from ingest.types import Asset, Fact, Segment

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser


# The tags by which browsers detect HTML (WHATWG MIME Sniffing, 7.1), and a few more. What precedes
# them is matched without backtracking: comments that can end at any later arrow would take
# exponential time.
_BEGINNING = re.compile(
    rb"(?>(<!--.*?-->|<\?xml[^>]*>)\s*)*+<(!doctype html|html|head|body|title|meta|link|style|"
    rb"script|iframe|main|section|article|div|h1|p|a|b|br|font|table)[\s>/]",
    re.IGNORECASE | re.DOTALL,
)
_TITLE_BYTES = 65_536
_HIDDEN = "script,style,noscript,template,svg,head,[hidden],[aria-hidden=true]"
_BLOCKS = (
    "address,article,aside,blockquote,br,caption,dd,div,dl,dt,figcaption,figure,footer,form,"
    "h1,h2,h3,h4,h5,h6,header,hr,li,main,nav,ol,p,pre,section,table,td,th,tr,ul"
)
# Line ends in the source mean nothing, so mark real ones with a private character.
_BREAK = "\ue000"
_MAX_DEPTH = 2_000
"""Deeper pages are refused: by HTML's rules, parsing time grows with the square of the depth."""

_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)", re.IGNORECASE)
# These close by themselves, so an open one does not nest.
_SELF_ENDING = frozenset(
    "area base br col dd dt embed hr img input li link meta p param source tbody td tfoot "
    "th thead tr track wbr".split()
)


class Html(Kind):
    """Pages, recognised by their first tag."""

    name = "html"
    modality = TEXT
    formats = ("HTML",)
    media_types = frozenset({"text/html"})
    suffixes: ClassVar[tuple[str, ...]] = (".html", ".htm", ".xhtml")

    def sniff(self, head: Head) -> Match | None:
        return Match("text/html", 0.8) if head.is_text and _BEGINNING.match(head.start) else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: what the page calls itself, else the file's stem."""
        return {"title": html_title(read_bytes(path, _TITLE_BYTES), str(path)) or path.stem}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the visible text; of a page that only a script would fill, its title."""
        data = read_bytes(path)
        text = html_text(data, str(path)) or html_title(data, str(path))
        return text_segments(asset, path, [Section(text)], config)


def html_text(data: bytes, name: str) -> str:
    """Visible text, one line per block; ``name`` is for messages.

    Raises:
        MediaLimitError: it nests too deeply.
    """
    tree = _parse(data, name)
    for node in tree.css(_HIDDEN):
        node.decompose()
    for node in tree.css(_BLOCKS):
        node.insert_before(_BREAK)
        node.insert_after(_BREAK)
    root = tree.body or tree.root
    text = root.text(separator="") if root is not None else ""
    lines = (" ".join(line.split()) for line in text.split(_BREAK))
    return "\n".join(line for line in lines if line)


def html_title(data: bytes, name: str) -> str:
    """The text of ``<title>``, else of the first ``<h1>``, else empty."""
    tree = _parse(data, name)
    for tag in ("title", "h1"):
        node = tree.css_first(tag)
        if node is not None and (title := " ".join(node.text().split())):
            return title[:200]
    return ""


def _parse(data: bytes, name: str) -> LexborHTMLParser:
    from selectolax.lexbor import LexborHTMLParser

    page = decode_bytes(data, declared_charset(data))
    if _most_open(page) > _MAX_DEPTH:
        raise MediaLimitError(
            f"{name} nests HTML elements more than {_MAX_DEPTH:,} deep.",
            remedy="Save it as text.",
        )
    return LexborHTMLParser(page.replace(_BREAK, " "))


def _most_open(page: str) -> int:
    n_open: Counter[str] = Counter()
    depth = deepest = 0
    for end, tag in _TAG.findall(page):
        tag = tag.lower()
        if tag in _SELF_ENDING:
            continue
        if not end:
            n_open[tag] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif n_open[tag]:
            n_open[tag] -= 1
            depth -= 1
    return deepest


_PAGES = ("text/html", "text/plain")


class WebArchive(Html):
    """.mht and .mhtml, which browsers and Word save."""

    name = "mht"
    label = "Saved web page"
    formats = ("web pages (.mht)",)
    media_types = frozenset({"multipart/related"})
    suffixes = (".mht", ".mhtml")
    max_bytes = "max_document_bytes"

    def sniff(self, head: Head) -> Match | None:
        """By a header of parts that belong together, without what only mails have."""
        if not head.is_text or b"multipart/related" not in head.data.lower():
            return None
        is_page = is_saved_page(BytesHeaderParser().parsebytes(head.start))
        return Match("multipart/related", 0.85) if is_page else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: what the page calls itself, else the file's stem."""
        titles = (html_title(data, str(path)) for data in _contents(path, *_PAGES))
        return {"title": next(filter(None, titles), path.stem)}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the visible text of the page and its frames, then the pictures."""
        texts = [Section(html_text(data, str(path))) for data in _contents(path, *_PAGES)]
        figures = [Figure(data, {}) for data in _contents(path, "image/")]
        pictures = figure_segments(asset, path, figures, config)
        return document_segments(asset, path, texts, pictures, config)


def _contents(path: Path, *types: str) -> Iterator[bytes]:
    mail: Message = message_from_bytes(read_bytes(path).lstrip(), policy=policy.default)
    return (
        content_of(message)
        for message in mail.walk()
        if message.get_content_type().startswith(types)
    )
