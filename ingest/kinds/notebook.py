"""Jupyter notebooks: the text and the code of their cells, what these printed and drew."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.documents import Figure, figure_segments
from ingest.kinds.head import Head, Match
from ingest.kinds.html import html_text
from ingest.kinds.windows import Section, document_segments
from ingest.types import Asset, Fact, Segment

_PICTURES = ("image/png", "image/jpeg", "png", "jpeg")
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
        looks = head.is_text and head.start.startswith(b"{") and b'"cell' in head.data
        return Match("application/x-ipynb+json", 0.8) if looks else None

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        try:
            return bool(_cells(path))
        except CorruptMediaError:
            return False

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title: the first heading, else the file's stem."""
        texts = (cell.text for cell in _cells(path) if cell.is_markdown)
        headings = (match[1].strip() for text in texts if (match := _HEADING.search(text)))
        return {"title": next(headings, path.stem)[:200]}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of each cell and what it printed, numbered from 1; then the pictures."""
        texts, figures = list[Section](), list[Figure]()
        for number, cell in enumerate(_cells(path), 1):
            texts += [Section(text, {"cell": number}) for text in (cell.text, *cell.outputs)]
            figures += [Figure(data, {"cell": number}) for data in cell.pictures]
        pictures = figure_segments(asset, path, figures, config)
        return document_segments(asset, path, texts, pictures, config, markdown=True)


class _Cell(NamedTuple):
    is_markdown: bool
    text: str
    outputs: list[str]
    pictures: list[bytes]


def _cells(path: Path) -> list[_Cell]:
    try:
        notebook = json.loads(decode_bytes(read_bytes(path)))
        # Those of version 3 have worksheets, and their code is called input.
        sheets = notebook.get("worksheets", [notebook])
        return [_cell(cell, str(path)) for sheet in sheets for cell in sheet["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptMediaError(
            f"{path} cannot be read as a notebook ({type(error).__name__}: {error}).",
            remedy="Open it in Jupyter and save it again.",
        ) from error


def _cell(cell: Mapping[str, Any], name: str) -> _Cell:
    outputs = cell.get("outputs", [])
    # In version 3, the data lie in the output itself, under names without "image/".
    all_data = [{**output, **output.get("data", {})} for output in outputs]
    packed = (data.get(media_type) for data in all_data for media_type in _PICTURES)
    return _Cell(
        cell["cell_type"] == "markdown",
        _joined(cell["source"] if "source" in cell else cell["input"]),
        [text for data in all_data if (text := _output_text(data, name))],
        [b64decode(_joined(base64)) for base64 in packed if base64],
    )


def _output_text(data: Mapping[str, Any], name: str) -> str:
    """What people see of an output: often it comes in several forms, the best first."""
    if markdown := data.get("text/markdown"):
        return _joined(markdown)
    if page := data.get("text/html") or data.get("html"):
        return html_text(_joined(page).encode(), name)
    return _joined(data.get("text/plain") or data.get("text") or "")


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
