"""Semantics of filters: whether one holds for an asset. The reference for all stores. Pure."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from search.filters.tree import (
    ORDER,
    And,
    Compare,
    Filter,
    Kind,
    Not,
    Operator,
    Or,
    Under,
    kind_of,
    metadata_keys,
)
from search.types import AssetRow

COLUMNS = frozenset({"modality", "media_type", "size_bytes"})
"""Fields that every asset has; all others can be missing."""

_ORDER = {
    Operator.GT: operator.gt,
    Operator.GTE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LTE: operator.le,
}


def matches(filter: Filter, row: AssetRow) -> bool:
    """Whether a filter holds for an asset; see `search.filters.tree` for the rules.

    >>> from search.filters import parse_filter
    >>> from search.types import AssetRow, Modality
    >>> row = AssetRow("a", Modality("image"), "image/png", 7, 1, ["/a.png"], {"tags": ["sea"]})
    >>> matches(parse_filter({"field": "tags", "contains": "sea"}), row)
    True
    """
    match filter:
        case And(parts):
            return all(matches(part, row) for part in parts)
        case Or(parts):
            return any(matches(part, row) for part in parts)
        case Not(part):
            return not matches(part, row)
        case Compare():
            return _compare(filter, row)
        case Under(folders, asked):
            inner = [
                uri.removeprefix(folder)
                for uri in row.locations
                for folder in folders
                if uri.startswith(folder)
            ]
            return _compare_paths(asked, inner)


def _compare(asked: Compare, row: AssetRow) -> bool:
    if kind_of(asked.field) is Kind.PATHS:
        return _compare_paths(asked, row.locations)
    return _holds(asked, _lookup(asked.field, row))


def _lookup(field: str, row: AssetRow) -> Any:
    """The value of a field; None if it is missing."""
    if field in COLUMNS:
        return getattr(row, field)
    value: Any = row.metadata
    for key in metadata_keys(field):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _holds(asked: Compare, stored: Any) -> bool:
    wanted = asked.value
    if asked.operator is Operator.EXISTS:
        return (stored is not None) is wanted
    if stored is None:
        return False
    if asked.operator in (Operator.EQ, Operator.IN):
        return any(_same(stored, value) for value in asked.values)
    if asked.operator in (Operator.NE, Operator.NIN):
        return not any(_same(stored, value) for value in asked.values)
    if asked.operator in ORDER:
        return _is_ordered(stored, wanted) and bool(_ORDER[asked.operator](stored, wanted))
    if asked.operator is Operator.PREFIX:
        return isinstance(stored, str) and stored.startswith(str(wanted))
    return _contains(stored, wanted, kind_of(asked.field))


def _contains(stored: Any, wanted: Any, kind: Kind) -> bool:
    """A text has a part, or a list an element."""
    if isinstance(stored, str):
        return kind is not Kind.TEXTS and isinstance(wanted, str) and wanted in stored
    is_list = isinstance(stored, Sequence) and kind is not Kind.TEXT
    return is_list and any(_same(part, wanted) for part in stored)


def _compare_paths(asked: Compare, locations: Sequence[str]) -> bool:
    """One location of several is enough."""
    if asked.operator is Operator.EXISTS:
        return bool(locations) is asked.value
    if asked.operator in (Operator.NE, Operator.NIN):
        return bool(locations) and not any(uri in asked.values for uri in locations)
    return any(_holds(asked, uri) for uri in locations)


def _same(stored: Any, wanted: Any) -> bool:
    """Equal, and of one type; True is not a number here."""
    return _type(stored) is _type(wanted) and bool(stored == wanted)


def _is_ordered(stored: Any, wanted: Any) -> bool:
    return _type(stored) is _type(wanted) and _type(stored) in (str, float)


def _type(value: Any) -> type:
    if isinstance(value, str):
        return str
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return type(value)
