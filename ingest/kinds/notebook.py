"""Jupyter notebooks: the text and the code of their cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Fact, Segment

_HEADING = re.compile(r"(?m)^#+ +(.+)$")


class Notebook(Kind):
    """.ipynb"""

    name = "ipynb"
    modality = TEXT
    formats = ("Jupyter notebooks",)
    media_types = frozenset({"application/x-ipynb+json"})
    suffixes = (".ipynb",)
    max_bytes = "max_document_bytes"

    def sniff(self, head: Head) -> Match | None:
        """JSON that mentions cells."""
        looks = head.is_text and head.start.startswith(b"{") and b'"cell' in head.data
        return Match("application/x-ipynb+json", 0.8) if looks else None

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        """Whether it is a notebook and not some other JSON."""
        try:
            return bool(_cells(path))
        except CorruptMediaError:
            return False

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the first heading, else the file's stem."""
        texts = (text for cell_type, text in _cells(path) if cell_type == "markdown")
        headings = (match[1].strip() for text in texts if (match := _HEADING.search(text)))
        return {"title": next(headings, path.stem)[:200]}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of each cell, numbered from 1."""
        cells = (
            Section(text, {"cell": number}) for number, (_, text) in enumerate(_cells(path), 1)
        )
        return text_segments(asset, path, cells, config, markdown=True)


def _cells(path: Path) -> list[tuple[str, str]]:
    """The type and the source of each cell."""
    try:
        notebook = json.loads(decode_bytes(read_bytes(path)))
        cells = notebook["cells"] if "cells" in notebook else _of_version_3(notebook)
        return [(str(cell["cell_type"]), _source(cell)) for cell in cells]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptMediaError(
            f"{path} cannot be read as a notebook ({type(error).__name__}: {error}).",
            remedy="Open it in Jupyter and save it again.",
        ) from error


def _of_version_3(notebook: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]


def _source(cell: Mapping[str, Any]) -> str:
    source = cell["source"] if "source" in cell else cell["input"]
    return source if isinstance(source, str) else "".join(source)
