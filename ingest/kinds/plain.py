"""Plain text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.unread import is_prose
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Segment

_MARKDOWN = (".md", ".markdown")


class Plain(Kind):
    """Whatever people can read and no other kind knows."""

    name = "text"
    label = "Text"
    icon = "M4.5 6.5h15M4.5 12h15M4.5 17.5h9"
    modality = TEXT
    formats = ("text", "Markdown")
    media_types = frozenset({"text/plain", "text/markdown"})
    suffixes = (".txt", *_MARKDOWN)

    def sniff(self, head: Head) -> Match | None:
        """Any text. Only the name that its author gave it can show that it is Markdown."""
        if not is_prose(head):
            return None
        return Match("text/markdown" if head.suffix in _MARKDOWN else "text/plain", 0.5)

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        is_markdown = asset.media_type == "text/markdown"
        text = decode_bytes(read_bytes(path))
        return text_segments(asset, path, [Section(text)], config, markdown=is_markdown)
