"""Columns of segments for filters, derived from their assets' fields. Pure.

Every field that filters know has a column, so that a vector search can include the filter. A field
that an asset lacks, or has with a different type, is stored as `MISSING_NUMBER` or an empty text.
Folders and tags are stored as keys of 60 bits: as arrays on servers, which scan integers twice as
fast as texts, and as one text on Milvus Lite, which reads whole rows in Python for an array. Lite
stores no folders: its segments would be rewritten when a file is renamed, and the index next to it
handles paths.

An expression finds all segments of the assets for which a filter holds, and may find more, like
those of `search.filters.compile`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from search.filters.compile import FROM_THE_START, Compiled, Compiler, any_of, literal, symbol_of
from search.filters.folders import MANY_FOLDERS, folder_key, folder_keys
from search.filters.match import COLUMNS
from search.filters.tree import (
    FIELDS,
    METADATA,
    ORDER,
    Compare,
    Filter,
    Kind,
    Operator,
    kind_of,
    metadata_keys,
)
from search.types import AssetRow

MISSING_NUMBER = -1e300
MAX_KEYS = 256
MAX_TEXT_BYTES = 256
MAX_METADATA_BYTES = 2048
METADATA_COLUMN = "asset_metadata"
CUT_COLUMN = "asset_is_cut"
KEY_DIGITS = 15
_WHOLE_BYTES = 200
"""A text that was cut compares with texts of up to this many bytes as the whole one does."""
_ANYWHERE = 0
"""The only key of an asset with more than `MAX_KEYS` of them."""
_LISTS = tuple(field for field, kind in FIELDS.items() if kind is Kind.TEXTS)
_MAYBE_ALL = Compiled("", False)


def column_of(field: str) -> str:
    """The name of a field's column.

    >>> column_of("tags")
    'asset_tags'
    """
    return f"asset_{field}"


def values_of(row: AssetRow, *, arrays: bool) -> dict[str, Any]:
    """The columns of an asset's segments; keys as integers, or as one text."""
    known = {field: getattr(row, field) if field in COLUMNS else row.metadata.get(field)
             for field in FIELDS}  # fmt: skip
    values = {column_of(field): _plain(field, value) for field, value in known.items()}
    values[column_of("path")] = _keys(folder_keys(row.locations), arrays) if arrays else ""
    for field in _LISTS:
        values[column_of(field)] = _keys(map(_key, _texts(known[field])), arrays)
    texts = [value for value in known.values() if isinstance(value, str)]
    others = {key: value for key, value in row.metadata.items() if key not in FIELDS}
    is_long = len(json.dumps(others)) > MAX_METADATA_BYTES
    values[CUT_COLUMN] = is_long or any(_cut(text) != text for text in texts)
    if arrays:
        values[METADATA_COLUMN] = {} if is_long else others
    return values


def _plain(field: str, value: Any) -> Any:
    kind = kind_of(field)
    if field in COLUMNS and kind is Kind.NUMBER:
        return value
    if kind in (Kind.NUMBER, Kind.TIME):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else MISSING_NUMBER
    return _cut(str(value)) if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _keys(keys: Iterable[str], arrays: bool) -> list[int] | str:
    known = [_number(key) for key in dict.fromkeys(keys)]
    if len(known) > MAX_KEYS:
        known = [_ANYWHERE]
    return known if arrays else "".join(map(_as_text, known))


def _number(key: str) -> int:
    return _ANYWHERE if key == MANY_FOLDERS else int(key[:KEY_DIGITS], 16)


def _as_text(key: int) -> str:
    return f" {key:0{KEY_DIGITS}x}"


def _key(tag: str) -> str:
    return hashlib.sha256(tag.encode(errors="replace")).hexdigest()


def _cut(text: str) -> str:
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")


def compile_for_segments(filter: Filter, *, arrays: bool, infix: bool) -> str:
    """The expression that finds all segments of a filter's assets; empty for all segments.

    Args:
        filter: values reach the expression as quoted literals only, keys as quoted names.
        arrays: see `values_of`.
        infix: see `search.filters.compile_filter`.

    >>> from search.filters import parse_filter
    >>> compile_for_segments(parse_filter({"field": "width", "gt": 5}), arrays=True, infix=False)
    'asset_width > 5.0'
    """
    return _SegmentCompiler(infix, arrays).compile(filter, negated=False).expression


@dataclass(frozen=True)
class _SegmentCompiler(Compiler):
    arrays: bool

    def _comparison(self, asked: Compare, negated: bool) -> Compiled:
        column = column_of(asked.field)
        if asked.field in COLUMNS:
            return self._column(asked, negated, column)
        if negated or asked.operator in (Operator.NE, Operator.NIN, Operator.EXISTS):
            return _MAYBE_ALL
        if asked.field.startswith(METADATA):
            return self._metadata(asked)
        kind = kind_of(asked.field)
        if kind in (Kind.NUMBER, Kind.TIME):
            return Compiled(_numbers(column, asked), False)
        if kind is Kind.PATHS:
            from_start = self.arrays and asked.operator in FROM_THE_START
            return self._paths(asked.values) if from_start else _MAYBE_ALL
        if kind is Kind.TEXTS:
            return self._having(asked.field, [_number(_key(str(asked.value)))])
        return self._text(column, asked)

    def _paths(self, starts: Sequence[Any]) -> Compiled:
        """Assets with a path that begins like one of these."""
        keys = [folder_key(str(start)) for start in starts]
        known = [_number(key) for key in keys if key is not None]
        return self._having("path", known) if len(known) == len(keys) else _MAYBE_ALL

    def _having(self, field: str, keys: Sequence[int]) -> Compiled:
        column = column_of(field)
        wanted = dict.fromkeys([*keys, _ANYWHERE])
        if self.arrays:
            return Compiled(any_of(f"array_contains({column}, {key})" for key in wanted), False)
        return Compiled(any_of(f'{column} like "%{_as_text(key)}%"' for key in wanted), False)

    def _text(self, column: str, asked: Compare) -> Compiled:
        values = [str(value) for value in asked.values]
        if asked.operator is Operator.CONTAINS:
            return Compiled(_or_cut(self._part(column, values[0])), False)
        if max(len(value.encode(errors="replace")) for value in values) > _WHOLE_BYTES:
            return _MAYBE_ALL
        return self._column(asked, False, column)

    def _metadata(self, asked: Compare) -> Compiled:
        if not self.arrays or metadata_keys(asked.field)[0] in FIELDS:
            return _MAYBE_ALL
        return Compiled(_or_cut(self._json(asked, METADATA_COLUMN)), False)


def _or_cut(expression: str) -> str:
    return any_of([expression, f"{CUT_COLUMN} == true"]) if expression else ""


def _numbers(column: str, asked: Compare) -> str:
    """Values are written as floats: Milvus compares floats only with floats."""
    values = [literal(float(value)) for value in asked.values]
    if asked.operator not in ORDER:
        return f"{column} in [{', '.join(values)}]"
    compared = f"{column} {symbol_of(asked.operator)} {values[0]}"
    if asked.operator in (Operator.GT, Operator.GTE):
        return compared
    return f"({column} > {MISSING_NUMBER} and {compared})"
