"""Filters as queries of SQLite, one for each comparison. Pure.

Each query finds the numbers of the assets for which a comparison holds, exactly, by an index. The
caller joins them by and, or, not. The tables are those of `search.store.folder.database`. A value
whose type does not fit its field is stored as `OTHER`: it exists, and is equal to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from search.filters.columns import LISTS, column_of
from search.filters.match import COLUMNS
from search.filters.tree import (
    FIELDS,
    METADATA,
    ORDER,
    SYMBOLS,
    Compare,
    FieldKind,
    Filter,
    Operator,
    Under,
    kind_of,
    text_after,
)
from search.types import AssetRow

OTHER = b""
"""Sorts after all numbers and texts in SQLite."""
VALUED = tuple(
    field
    for field, field_kind in FIELDS.items()
    if field_kind not in (FieldKind.PATHS, FieldKind.TEXTS)
)
"""Fields with their own column."""


class TableQuery(NamedTuple):
    """A query of one column, ``no``, and its parameters."""

    sql: str
    values: tuple[Any, ...] = ()


class Range(NamedTuple):
    """Comparisons of one column, all of which hold."""

    parts: tuple[Compare, ...]


def in_ranges(parts: Sequence[Filter]) -> Iterator[Filter | Range]:
    """Filters that all hold, with those combined that one scan of an index can answer.

    Half of a library can be after one day, and half before another, but little between them.

    >>> from search.filters import parse_filter
    >>> both = parse_filter({"field": "width", "gte": 5, "lt": 9})
    >>> query_of(*in_ranges(both.parts)).sql
    "SELECT no FROM asset WHERE asset_width >= ? AND asset_width < x'' AND asset_width < ?"
    """
    ordered: dict[str, list[Compare]] = {}
    for filter in parts:
        is_ordered = isinstance(filter, Compare) and filter.operator in ORDER
        if isinstance(filter, Compare) and is_ordered and filter.field in VALUED:
            ordered.setdefault(filter.field, []).append(filter)
        else:
            yield filter
    for comparisons in ordered.values():
        yield Range(tuple(comparisons)) if len(comparisons) > 1 else comparisons[0]


def values_of(row: AssetRow) -> list[Any]:
    """What is stored in the columns of `VALUED`."""
    return [_stored(field, row) for field in VALUED]


def labels_of(row: AssetRow) -> set[tuple[str, str]]:
    """List fields with each of their texts; a text counts as a list of its characters."""
    return {
        (field, label)
        for field in LISTS
        if isinstance(labels := row.metadata.get(field), list | str)
        for label in labels
        if isinstance(label, str)
    }


def query_of(leaf: Compare | Under | Range) -> TableQuery | None:
    """The query for a comparison; None if rows have to be read.

    >>> from search.filters import parse_filter
    >>> query_of(parse_filter({"field": "width", "gt": 5})).sql
    "SELECT no FROM asset WHERE asset_width > ? AND asset_width < x''"
    """
    if isinstance(leaf, Under):
        return _under(leaf)
    if isinstance(leaf, Range):
        conditions = [
            _condition(column_of(comparison.field), comparison) for comparison in leaf.parts
        ]
        sql = " AND ".join(condition for condition, _ in conditions)
        values = tuple(value for _, bounds in conditions for value in bounds)
        return TableQuery(f"SELECT no FROM asset WHERE {sql}", values)
    if leaf.field.startswith(METADATA):
        return None
    field_kind = kind_of(leaf.field)
    if field_kind is FieldKind.PATHS:
        return _paths(leaf.operator, leaf.values)
    if field_kind is FieldKind.TEXTS:
        if leaf.operator is Operator.EXISTS:
            return None
        sql = "SELECT no FROM label WHERE field = ? AND value = ?"
        return TableQuery(sql, (leaf.field, leaf.value))
    condition, parameters = _condition(column_of(leaf.field), leaf)
    return TableQuery(f"SELECT no FROM asset WHERE {condition}", tuple(parameters))


def _condition(column: str, comparison: Compare) -> tuple[str, Sequence[Any]]:
    values = comparison.values
    marks = ", ".join("?" * len(values))
    match comparison.operator:
        case Operator.EXISTS:
            is_null = f"{column} IS {'NOT ' if comparison.value else ''}NULL"
            return f"{is_null} AND row IS NOT NULL", ()
        case Operator.EQ | Operator.IN:
            return f"{column} IN ({marks})", values
        case Operator.NE | Operator.NIN:
            return f"{column} NOT IN ({marks})", values
        case Operator.CONTAINS:
            return f"typeof({column}) = 'text' AND instr({column}, ?) > 0", values
        case Operator.PREFIX:
            return _begins(column, str(comparison.value))
    condition = f"{column} {SYMBOLS[comparison.operator]} ?"
    if comparison.operator in (Operator.GT, Operator.GTE):
        condition += f" AND {column} < x''"
    return condition, values


def _begins(column: str, prefix: str) -> tuple[str, Sequence[Any]]:
    after = text_after(prefix)
    if after is None:
        return f"{column} >= ? AND {column} < x''", (prefix,)
    return f"{column} >= ? AND {column} < ?", (prefix, after)


def _paths(operator: Operator, values: Sequence[Any]) -> TableQuery | None:
    if operator in (Operator.EQ, Operator.IN):
        marks = ", ".join("?" * len(values))
        return TableQuery(f"SELECT no FROM location WHERE uri IN ({marks})", tuple(values))
    if operator is Operator.PREFIX:
        condition, bounds = _begins("uri", str(values[0]))
        return TableQuery(f"SELECT no FROM location WHERE {condition}", tuple(bounds))
    if operator is Operator.CONTAINS:
        return TableQuery("SELECT no FROM location WHERE instr(uri, ?) > 0", tuple(values))
    return None


def _under(leaf: Under) -> TableQuery | None:
    comparison = leaf.comparison
    uris = [f"{folder}{value}" for folder in leaf.folders for value in comparison.values]
    if comparison.operator in (Operator.EQ, Operator.IN):
        return _paths(Operator.IN, uris)
    if comparison.operator is not Operator.PREFIX:
        return None
    queries = [query for uri in uris if (query := _paths(Operator.PREFIX, [uri]))]
    return TableQuery(
        " UNION ALL ".join(query.sql for query in queries),
        tuple(value for query in queries for value in query.values),
    )


def _stored(field: str, row: AssetRow) -> Any:
    value = getattr(row, field) if field in COLUMNS else row.metadata.get(field)
    if value is None:
        return None
    if kind_of(field) in (FieldKind.NUMBER, FieldKind.TIME):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number else OTHER
    return str(value) if isinstance(value, str) else OTHER
