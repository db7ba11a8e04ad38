"""Semantics of filters: whether one holds for an asset. The reference for all stores. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search.filters.tree import (
    ORDER,
    And,
    Compare,
    FieldKind,
    Filter,
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
    >>> from encoder.types import IMAGE
    >>> from search.types import AssetRow
    >>> row = AssetRow("a", IMAGE, "image/png", 7, {IMAGE: 1}, ["/a.png"], {"tags": ["sea"]})
    >>> matches(parse_filter({"field": "tags", "contains": "sea"}), row)
    True
    """
    match filter:
        case And(parts):
            return all(matches(operand, row) for operand in parts)
        case Or(parts):
            return any(matches(operand, row) for operand in parts)
        case Not(operand):
            return not matches(operand, row)
        case Compare() if kind_of(filter.field) is FieldKind.PATHS:
            return _compare_paths(filter, row.locations)
        case Compare():
            return _holds(filter, value_of(filter.field, row))
        case Under(folders, asked):
            inner = [
                uri.removeprefix(folder)
                for uri in row.locations
                for folder in folders
                if uri.startswith(folder)
            ]
            return _compare_paths(asked, inner)


def may_match(filter: Filter, row: AssetRow, is_known: Callable[[str], bool]) -> bool | None:
    """Whether a filter holds for an asset; None if that depends on fields that are not known yet.

    >>> from search.filters import parse_filter
    >>> from encoder.types import IMAGE
    >>> row = AssetRow("a", IMAGE, "", 0, {}, [], {"tags": ["sea"]})
    >>> tall, sea = {"field": "height", "gt": 9}, {"field": "tags", "contains": "sea"}
    >>> may_match(parse_filter({"and": [tall, sea]}), row, {"tags"}.__contains__)
    >>> may_match(parse_filter({"and": [tall, {"not": sea}]}), row, {"tags"}.__contains__)
    False
    """
    match filter:
        case And(parts) | Or(parts):
            ends = isinstance(filter, Or)
            holding = [may_match(operand, row, is_known) for operand in parts]
            return ends if ends in holding else None if None in holding else not ends
        case Not(operand):
            holds = may_match(operand, row, is_known)
            return None if holds is None else not holds
        case Under(_, comparison):
            return matches(filter, row) if is_known(comparison.field) else None
        case Compare():
            return matches(filter, row) if is_known(filter.field) else None


def value_of(field: str, row: AssetRow) -> Any:
    """The value of a field; None if it is missing."""
    if field in COLUMNS:
        return getattr(row, field)
    value: Any = row.metadata
    for key in metadata_keys(field):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _holds(comparison: Compare, stored: Any) -> bool:
    operand = comparison.value
    if comparison.operator is Operator.EXISTS:
        return (stored is not None) is operand
    if stored is None:
        return False
    if comparison.operator in (Operator.EQ, Operator.IN):
        return any(_same(stored, value) for value in comparison.values)
    if comparison.operator in (Operator.NE, Operator.NIN):
        return not any(_same(stored, value) for value in comparison.values)
    if comparison.operator in ORDER:
        is_ordered = _type(stored) is _type(operand) and _type(stored) in (str, float)
        return is_ordered and bool(_ORDER[comparison.operator](stored, operand))
    if comparison.operator is Operator.PREFIX:
        return isinstance(stored, str) and stored.startswith(str(operand))
    return _contains(stored, operand, kind_of(comparison.field))


def _contains(stored: Any, operand: Any, field_kind: FieldKind) -> bool:
    """A text has a part, or a list an element."""
    if isinstance(stored, str):
        return field_kind is not FieldKind.TEXTS and isinstance(operand, str) and operand in stored
    is_list = isinstance(stored, Sequence) and field_kind is not FieldKind.TEXT
    return is_list and any(_same(element, operand) for element in stored)


def _compare_paths(comparison: Compare, locations: Sequence[str]) -> bool:
    """One location of several is enough."""
    if comparison.operator is Operator.EXISTS:
        return bool(locations) is comparison.value
    if comparison.operator in (Operator.NE, Operator.NIN):
        return bool(locations) and not any(uri in comparison.values for uri in locations)
    return any(_holds(comparison, uri) for uri in locations)


def _same(stored: Any, operand: Any) -> bool:
    """Equal, and of one type; True is not a number here."""
    return _type(stored) is _type(operand) and bool(stored == operand)


def _type(value: Any) -> type:
    if isinstance(value, str):
        return str
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return type(value)
