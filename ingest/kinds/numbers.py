"""Find numbers in text: point clouds, coordinate lists and tables, which nobody reads as prose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_PIECE_CHARS = 1_000
"""Longer lines are checked in pieces of this length, since one line may be a whole list."""

_LEAST_NUMBERS = 100
_LEAST_NUMBERS_OF_A_FILE = 12
"""The fewest numbers in a stretch of data: in any text, and in a text that is mostly data."""

_LEAST_NUMBER_SHARE = 0.5
_MOST_LETTER_SHARE = 0.45
"""In a line of numbers: the least share of words that are numbers, the greatest of letters."""

_FEW_LETTERS = 0.15
_WORDS_PER_LINE = 0.25
"""A stretch with more letters must be most of the file and repeat its words, as labels do.

Place names in a list, for example, should stay searchable.
"""

_OTHER_LINES = 0.1
"""The share of other lines within a stretch, such as comments and the groups of a mesh."""

_HEADER_CHARS = 500
_ROW_CHARS = 100
_ROWS = 3
_LABEL_CHARS = 2_000

_SEPARATORS = re.compile(r"[\s,;|:()\[\]{}<>\"'=#*/_]+")
# Possessive, so that a thousand digits followed by a letter do not backtrack.
_NUMBER = re.compile(
    r"[-+±~$€£¥−]?[.+\-−]*+\d[\d.+\-−]*+(?:[ed][-+]?\d+)?(?:[%€°fluz]|t\d*)?"
    r"|0x[\da-f.p+\-]+|[-+]?(?:nan|inf(?:inity)?)",
    re.IGNORECASE,
)
# Letters of all scripts, with accents and vowel signs, which Unicode does not count as letters.
_LETTER = re.compile(r"[a-zA-Z]|[^\x00-\x7f\d−–—±×·°€£¥…]")
_VISIBLE = re.compile(r"\w")
_WORD = re.compile(r"[^\W\d_]{2,}")


class DescribedSpan(NamedTuple):
    """A stretch of a text, ``start`` to ``end`` (exclusive); ``table`` describes its numbers."""

    start: int
    end: int
    table: str = ""


class _Line(NamedTuple):
    start: int
    end: int
    n_numbers: int = 0
    n_letters: int = 0  # outside numbers
    n_visible: int = 0
    is_prose: bool = False
    goes_on: bool = False  # whether it continues a long line
    words: tuple[str, ...] = ()


@dataclass
class _NumberRun:
    """Lines of numbers and the few others between them; ``first`` is the index of a line."""

    first: int
    n_lines: int = 0
    n_numbers: int = 0
    n_letters: int = 0
    n_visible: int = 0
    n_other: int = 0
    last: int = 0
    in_row: int = 0
    columns: Counter[int] = field(default_factory=Counter)
    words: dict[str, None] = field(default_factory=dict)

    def take(self, at: int, line: _Line) -> None:
        self.n_lines += 1
        self.n_numbers += line.n_numbers
        self.n_letters += line.n_letters
        self.n_visible += line.n_visible
        if line.goes_on:
            self.columns[self.in_row] -= 1
        self.in_row = line.n_numbers + (self.in_row if line.goes_on else 0)
        self.columns[self.in_row] += 1
        self.words.update(dict.fromkeys(line.words))
        self.last = at


def parts(text: str, name: str) -> Iterator[DescribedSpan]:
    """Split a text into stretches of prose and of numbers, in order. Most texts are all prose.

    A table is described by ``name``, its header, shape, first rows and the labels of the others; a
    list of numbers by its name and shape. A few lines above it are taken as its header and kept
    whole.

    >>> [span.table for span in parts("1 2 3\\n4 5 6\\n7 8 9\\n1 2 3\\n", "points")]
    ['points: 4 × 3 numbers']
    """
    lines = list(_lines(text))
    start, n_chars = 0, len(text.strip())
    for run in _runs(lines):
        begin, end = lines[run.first].start, lines[run.last].end
        if not _is_data(run, end - begin, n_chars):
            continue
        header_at = _header_start(text, start, begin)
        if _VISIBLE.search(text, start, header_at):
            yield DescribedSpan(start, header_at)
        header = text[header_at:begin].strip()
        yield DescribedSpan(header_at, end, _described(text, name, header, run, lines))
        start = end
    if start == 0 or _VISIBLE.search(text, start):
        yield DescribedSpan(start, len(text))


def _lines(text: str) -> Iterator[_Line]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        if end - start > _PIECE_CHARS:
            limit = start + _PIECE_CHARS
            end = max(text.rfind(mark, start, limit) for mark in " ,;\t") + 1 or limit
        line = text[start:end]
        if not line.isspace():
            yield _line(line, start, goes_on=start > 0 and text[start - 1] != "\n")
        start = end


def _line(line: str, start: int, *, goes_on: bool) -> _Line:
    """Prose, numbers, or only punctuation."""
    words = [word for word in _SEPARATORS.split(line) if word.strip(".-+−–—&~")]
    non_numbers = [word for word in words if not _NUMBER.fullmatch(word)]
    n_visible, n_letters = (
        sum(map(len, words)),
        sum(len(_LETTER.findall(word)) for word in non_numbers),
    )
    n_numbers = len(words) - len(non_numbers)
    is_prose = (
        n_numbers < _LEAST_NUMBER_SHARE * len(words) or n_letters > _MOST_LETTER_SHARE * n_visible
    )
    labels = () if is_prose else tuple(word for word in non_numbers if _WORD.search(word))
    end = start + len(line)
    return _Line(
        start,
        end,
        n_numbers=n_numbers,
        n_letters=n_letters,
        n_visible=n_visible,
        is_prose=is_prose,
        goes_on=goes_on,
        words=labels,
    )


def _runs(lines: list[_Line]) -> Iterator[_NumberRun]:
    run: _NumberRun | None = None
    for at, line in enumerate(lines):
        if line.n_numbers and not line.is_prose:
            run = run or _NumberRun(at)
            run.take(at, line)
        elif line.is_prose and run:
            run.n_other += 1
            if run.n_other > _OTHER_LINES * run.n_lines:
                yield run
                run = None
    if run:
        yield run


def _is_data(run: _NumberRun, n_run_chars: int, n_chars: int) -> bool:
    most_of_it = 2 * n_run_chars >= n_chars
    if run.n_numbers < (_LEAST_NUMBERS_OF_A_FILE if most_of_it else _LEAST_NUMBERS):
        # Even a single number can be long.
        return n_run_chars >= 8 * _LEAST_NUMBERS and most_of_it
    if run.n_letters <= _FEW_LETTERS * run.n_visible:
        return True
    return most_of_it and len(run.words) <= max(3, _WORDS_PER_LINE * run.n_lines)


def _header_start(text: str, start: int, begin: int) -> int:
    """Where the header begins: at the start of the remaining text, or at its last line."""
    if begin - start <= _HEADER_CHARS:
        return start
    last_line = text.rfind("\n", start, begin - 1) + 1
    is_short = start < last_line and begin - last_line <= _HEADER_CHARS
    return last_line if is_short else begin


def _described(text: str, name: str, header: str, run: _NumberRun, lines: list[_Line]) -> str:
    begin, end = lines[run.first].start, lines[run.last].end
    first = text[begin : min(end, begin + 20 * _PIECE_CHARS)].splitlines()
    rows = [row for line in first if (row := line.strip())][:_ROWS]
    has_columns = bool(header) and _n_cells(header.splitlines()[-1]) == _n_cells(rows[0])
    if not has_columns and not run.words:
        rows = []
    summary_lines = [f"{name}: {_shape(run)}", header, *map(_shortened, rows)]
    summary = "\n".join(summary_lines)
    labels = " ".join(word for word in run.words if word not in summary)
    summary_lines.append(_shortened(labels, _LABEL_CHARS))
    return "\n".join(summary_line for summary_line in summary_lines if summary_line)


def _shape(run: _NumberRun) -> str:
    columns, n_rows = run.columns.most_common(1)[0]
    if n_rows > 1 and columns > 1 and n_rows >= 0.9 * run.columns.total():
        return f"{n_rows:,} × {columns} numbers"
    return f"{run.n_numbers:,} numbers"


def _n_cells(line: str) -> int:
    mark = max(",;\t|", key=line.count)
    return line.count(mark) + 1 if mark in line else len(line.split())


def _shortened(row: str, most_chars: int = _ROW_CHARS) -> str:
    return row if len(row) <= most_chars else f"{row[:most_chars]} …"
