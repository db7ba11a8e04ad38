"""Web pages saved as one file (.mht): the text of the page, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email import message_from_bytes, policy
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

from ingest.config import IngestConfig
from ingest.decode.charset import read_bytes
from ingest.decode.figures import Figure, figure_segments
from ingest.decode.windows import Section, document_segments
from ingest.kinds.attachments import content_of, is_saved_page
from ingest.kinds.head import Head, Match
from ingest.kinds.html import Html, html_text, html_title
from ingest.types import Asset, Fact, Segment

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
    return (content_of(part) for part in mail.walk() if part.get_content_type().startswith(types))
