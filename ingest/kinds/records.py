"""Tables and records in text files: CSV, JSON, JSON Lines and XML."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from encoder.errors import CorruptMediaError
from encoder.types import TEXT
from ingest.config import IngestConfig
from ingest.kinds.charset import decode_bytes, read_bytes
from ingest.kinds.contract import Kind
from ingest.kinds.head import Head, Match
from ingest.kinds.unread import is_prose
from ingest.kinds.windows import Section, text_segments
from ingest.types import Asset, Segment

_FOR_PROGRAMS = frozenset({"binary", "binary-data", "script", "style", "stylesheet"})
"""Elements in which there are pictures, programs and looks."""


class Line(NamedTuple):
    """The text at a path."""

    path: str
    text: str
    is_numbers: bool = False


def json_lines(value: Any, path: str = "") -> Iterator[Line]:
    """Each scalar with its name; a list of nothing but numbers stays one line.

    >>> [(path, text) for path, text, _ in json_lines({"a": [{"b": "x"}], "at": [1, 2]})]
    [('a[0].b', 'b: x'), ('at', 'at: [1, 2]')]
    """
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from json_lines(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and not _only_numbers(value):
        for index, inner in enumerate(value):
            yield from json_lines(inner, f"{path}[{index}]")
    elif value not in (None, "", {}):
        name = path.rpartition(".")[2].rstrip("0123456789[]")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield Line(path, f"{name}: {text}" if name else text, isinstance(value, list))


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_numbers(inner) for inner in value)
    return isinstance(value, int | float)


def xml_lines(root: Element, least_words: int = 2) -> Iterator[Line]:
    """The text of each element that has text of its own, and attributes of so many words."""
    waiting = [(root, _tag(root))]
    while waiting:
        element, path = waiting.pop()
        if _tag(element) in _FOR_PROGRAMS:
            continue
        for name, value in element.attrib.items():
            if len(value.split()) >= least_words and _local(name) != "schemaLocation":
                yield Line(path, f"{_local(name)}: {value.strip()}")
        children = [child for child in element if isinstance(child.tag, str)]
        element_text = "".join([element.text or "", *(child.tail or "" for child in element)])
        if element_text.strip():
            yield Line(path, " ".join("".join(element.itertext()).split()))
        else:
            child_paths = [(child, f"{path}/{_tag(child)}") for child in children]
            waiting.extend(reversed(child_paths))


def _tag(element: Element) -> str:
    return _local(str(element.tag))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def packed(lines: Iterable[Line], window: int) -> Iterator[Section]:
    """Lines joined up to the length of a text segment; the path of the first is the place.

    Numbers do not count towards the length, since they are described, not spelled out.
    """
    path, texts, n_chars = "", list[str](), 0
    for line in lines:
        length = 0 if line.is_numbers else len(line.text) + 1
        if texts and n_chars + length > window:
            yield _section(path, texts)
            texts, n_chars = [], 0
        path = path if texts else line.path
        texts.append(line.text)
        n_chars += length
    if texts:
        yield _section(path, texts)


def _section(path: str, texts: list[str]) -> Section:
    return Section("\n".join(texts), {"path": path[-200:]} if path else {})


_SEPARATORS = (",", "\t", ";")
_LEAST_ROWS = 3
_SURE, _LIKELY = 0.7, 0.6
_TAG = re.compile(rb"<\?x|<[A-Za-z][\w:.-]*+(?:>\s*+<[A-Za-z]|\s[^<>]{0,500}=[\"'])")


class _Records(Kind):
    """Text that programs write; its name is its title."""

    modality = TEXT
    max_bytes = "max_document_bytes"


class Table(_Records):
    """.csv and .tsv; a place names the rows, the header being the first."""

    name, formats, suffixes = "csv", ("CSV", "TSV"), (".csv", ".tsv", ".tab")
    media_types = frozenset({"text/csv", "text/tab-separated-values"})
    max_bytes = "max_text_bytes"

    def sniff(self, head: Head) -> Match | None:
        """Text with such a name, or in which several lines have the same number of cells."""
        if not is_prose(head):
            return None
        if head.suffix in self.suffixes:
            return Match(_table_type(head.suffix != ".csv"), _SURE)
        # In any encoding: only the separators count, and guessing it would cost milliseconds.
        lines = head.data[:4096].decode("latin-1").splitlines()[:20]
        for mark in _SEPARATORS:
            if len(lines) > _LEAST_ROWS and _is_even(lines[:-1], mark):
                return Match(_table_type(mark == "\t"), _LIKELY)
        return None

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        text = decode_bytes(read_bytes(path)).replace("\r\n", "\n")
        if '"' in text:
            text = _one_line_each(text)
        return text_segments(asset, path, [Section(text, counted="rows")], config)


def _table_type(has_tabs: bool) -> str:
    return "text/tab-separated-values" if has_tabs else "text/csv"


def _is_even(lines: Sequence[str], mark: str) -> bool:
    """Whether all lines have the same number of cells, at least three, and none is a sentence."""
    n_cells = {len(row) for row in csv.reader(lines, delimiter=mark)}
    return len(n_cells) == 1 and n_cells.pop() >= 3 and not any(f"{mark} " in x for x in lines)


def _one_line_each(text: str) -> str:
    """Replace each line break within quotes by a space, so that lines are rows."""
    inside = False
    lines = list[str]()
    for line in text.split("\n"):
        if inside:
            lines[-1] += " " + line
        else:
            lines.append(line)
        inside ^= line.count('"') % 2 == 1
    return "\n".join(lines)


class Json(_Records):
    """.json and .jsonl; a place is a path within it, such as ``features[3].name``, or the rows."""

    name, formats, suffixes = "json", ("JSON", "JSON Lines"), (".json", ".jsonl", ".geojson")
    media_types: ClassVar[frozenset[str]] = frozenset({"application/json", "application/jsonl"})

    def sniff(self, head: Head) -> Match | None:
        if not is_prose(head) or not head.start.startswith((b"{", b"[")):
            return None
        first, *further_lines = head.start.splitlines()
        is_lines = first.startswith(b"{") and first.rstrip().endswith(b"}")
        is_lines = is_lines and bool(further_lines) and further_lines[0].startswith(b"{")
        return Match(f"application/json{'l' if is_lines else ''}", _SURE)

    def accepts(self, path: Path, media_type: str) -> bool:
        try:
            for _ in self._values(path, media_type):
                pass
        except (ValueError, RecursionError):
            return False
        return True

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        values = self._values(path, asset.media_type)
        if asset.media_type == "application/json":
            sections = packed(json_lines(next(values)), config.text_window_chars)
        else:
            rows = (", ".join(line.text for line in json_lines(value)) for value in values)
            sections = iter([Section("\n".join(rows), counted="rows")])
        return text_segments(asset, path, sections, config)

    def _values(self, path: Path, media_type: str) -> Iterator[Any]:
        text = decode_bytes(read_bytes(path))
        if media_type == "application/json":
            yield json.loads(text)
        else:
            yield from (json.loads(line) for line in text.splitlines() if line.strip())


class Xml(_Records):
    """.xml; a place is the path of elements. External references are not fetched."""

    name, formats, suffixes = "xml", ("XML",), (".xml",)
    media_types = frozenset({"application/xml"})

    def sniff(self, head: Head) -> Match | None:
        """By its declaration; less surely by tags, where pages and programs come first."""
        if not is_prose(head) or not _TAG.match(head.start):
            return None
        return Match("application/xml", _SURE if head.start.startswith(b"<?xml") else _LIKELY)

    def accepts(self, path: Path, media_type: str) -> bool:  # noqa: ARG002
        try:
            _root(path)
        except CorruptMediaError:
            return False
        return True

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:
        """Windows of the text in the elements; if there is none, of all attributes."""
        root = _root(path)
        lines = [*xml_lines(root)] or xml_lines(root, least_words=1)
        return text_segments(asset, path, packed(lines, config.text_window_chars), config)


def _root(path: Path) -> Element:
    # Python's expat neither fetches external entities nor lets internal ones grow without end.
    from xml.etree.ElementTree import fromstring

    try:
        return fromstring(read_bytes(path))
    except (ParseError, ValueError, LookupError) as error:
        raise CorruptMediaError(
            f"{path} is not well-formed XML ({error}).", remedy="Export it again."
        ) from error
