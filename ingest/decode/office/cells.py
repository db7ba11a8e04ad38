"""Find which cells of a sheet have values; kreuzberg's tables do not say where they are.

calamine does, but allocates memory for every cell up to the last, and aborts if it cannot.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import ParseError, iterparse
from xml.parsers.expat import ExpatError, ParserCreate
from zipfile import BadZipFile, ZipFile

from encoder.media.source import opened
from ingest.decode.windows import Cells

_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_MOST_ROWS = 2**20
_MOST_BYTES = 2**28
"""The most bytes that a file may unpack to: more would take longer than it is worth."""

_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_BELOW_HEADER = re.compile(r"\|(?: -+ \|)+")


@dataclass
class Grid:
    """The rows that have values, and the first and last column that has one, counted from 1."""

    rows: list[int] = field(default_factory=list)
    first: int = 0
    last: int = 0

    def add(self, row: int, column: int) -> None:
        """Add a cell with a value; rows come in order."""
        if not self.rows or self.rows[-1] != row:
            self.rows.append(row)
        self.first = min(self.first or column, column)
        self.last = max(self.last, column)

    def repeat(self, row: int, count: int) -> None:
        """Note that a row, if it has values, occurs ``count`` times."""
        if count > 1 and self.rows and self.rows[-1] == row:
            if row + count > _MOST_ROWS:
                raise ValueError(f"{row + count:,} rows")
            self.rows.extend(range(row + 1, row + count))


def cells_of(table: str, grid: Grid) -> Cells | None:
    """The cells of each line of a Markdown table; None if its rows differ from the sheet's."""
    lines = table.split("\n")
    at = [n for n, line in enumerate(lines) if line.startswith("|")]
    if not grid.rows or len(at) < 2 or not _BELOW_HEADER.fullmatch(lines[at[1]]):
        return None
    del at[1]
    every = range(grid.rows[0], grid.rows[-1] + 1)
    numbers = every if len(every) == len(at) else grid.rows
    if len(numbers) != len(at):
        return None
    rows = [0] * len(lines)
    for line, number in zip(at, numbers, strict=True):
        rows[line] = number
    return Cells(rows, (letters(grid.first), letters(grid.last)))


def letters(column: int) -> str:
    """The name of a column.

    >>> letters(1), letters(27), letters(16384)
    ('A', 'AA', 'XFD')
    """
    name = ""
    while column:
        column, digit = divmod(column - 1, 26)
        name = chr(65 + digit) + name
    return name


def grids(path: Path) -> dict[str, Grid]:
    """The cells with values in each sheet of an .xlsx or .ods file, by the sheet's name.

    Empty for a file that is damaged or large.
    """
    try:
        with opened(path) as file, ZipFile(file) as members:
            if sum(entry.file_size for entry in members.infolist()) > _MOST_BYTES:
                return {}
            if "xl/workbook.xml" in members.namelist():
                return dict(_of_workbook(members))
            with members.open("content.xml") as content:
                return dict(_of_tables(content))  # type: ignore[arg-type]
    except (
        ParseError,
        ExpatError,
        ValueError,
        KeyError,
        OSError,
        EOFError,
        BadZipFile,
        zlib.error,
    ):
        return {}  # kreuzberg says what is wrong with it


def _of_workbook(members: ZipFile) -> Iterator[tuple[str, Grid]]:
    with members.open("xl/_rels/workbook.xml.rels") as file:
        targets = {one.get("Id"): one.get("Target", "") for _, one in iterparse(file)}
    with members.open("xl/workbook.xml") as file:
        sheets = [
            (one.get("name", ""), one.get(_RELATION))
            for _, one in iterparse(file)
            if one.tag.endswith("}sheet")
        ]
    for name, relation in sheets:
        target = targets.get(relation, "")
        part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
        if part in members.namelist():
            with members.open(part) as file:
                yield name, _of_sheet(file)  # type: ignore[arg-type]


def _of_sheet(file: BinaryIO) -> Grid:
    # Without building a tree of elements, which takes three times as long.
    grid, row, column = Grid(), 0, 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal row, column
        tag = tag.rpartition(":")[2]
        if tag == "c":
            column = _column(attributes.get("r", "")) or column + 1
        elif tag in ("v", "is"):
            grid.add(row, column)
        elif tag == "row":
            row, column = int(attributes.get("r", row + 1)), 0

    parser = ParserCreate()
    parser.StartElementHandler = start
    parser.ParseFile(file)
    return grid


@lru_cache(maxsize=2**14)
def _number(name: str) -> int:
    number = 0
    for letter in name:
        number = number * 26 + ord(letter) - 64
    return number


def _column(reference: str) -> int:
    found = _REFERENCE.fullmatch(reference)
    return _number(found[1]) if found else 0


def _of_tables(file: BinaryIO) -> Iterator[tuple[str, Grid]]:
    row = column = 0
    grid = Grid()
    for event, one in iterparse(file, ("start", "end")):
        if event == "start" and one.tag == f"{_TABLE}table":
            grid, row = Grid(), 0
        elif event == "start" and one.tag == f"{_TABLE}table-row":
            column = 0
        elif event == "end" and one.tag == f"{_TABLE}table-row":
            count = int(one.get(f"{_TABLE}number-rows-repeated", 1))
            grid.repeat(row + 1, count)
            row += count
            one.clear()
        elif event == "end" and one.tag in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            count = int(one.get(f"{_TABLE}number-columns-repeated", 1))
            if one.get(f"{_OFFICE}value-type"):
                grid.add(row + 1, column + 1)
                grid.add(row + 1, column + count)
            column += count
        elif event == "end" and one.tag == f"{_TABLE}table":
            yield one.get(f"{_TABLE}name", ""), grid
