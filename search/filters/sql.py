"""Filters as queries of SQLite, one for each comparison. Pure.

Each query finds the numbers of the assets for which a comparison holds, exactly, by an index. The
caller joins them by and, or, not. The tables are those of `search.store.embedded.tables`. A value
whose type does not fit its field is stored as `OTHER`: it exists, and is equal to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from search.filters.columns import column_of
from search.filters.compile import symbol_of, text_after
from search.filters.match import COLUMNS
from search.filters.tree import (
    FIELDS,
    METADATA,
    ORDER,
    Compare,
    Filter,
    Kind,
    Operator,
    Under,
    kind_of,
)
from search.types import AssetRow

OTHER = b""
"""Sorts after all numbers and texts in SQLite."""
VALUED = tuple(field for field, kind in FIELDS.items() if kind not in (Kind.PATHS, Kind.TEXTS))
"""Fields with their own column."""
LISTS = tuple(field for field, kind in FIELDS.items() if kind is Kind.TEXTS)
"""Fields whose values are in the table of labels."""
_NUMBERS = (Kind.NUMBER, Kind.TIME)


class Asked(NamedTuple):
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
    >>> found = parse_filter({"field": "width", "gte": 5, "lt": 9})
    >>> query_of(*in_ranges(found.parts)).sql
    "SELECT no FROM asset WHERE asset_width >= ? AND asset_width < x'' AND asset_width < ?"
    """
    ordered: dict[str, list[Compare]] = {}
    for one in parts:
        if isinstance(one, Compare) and one.operator in ORDER and one.field in VALUED:
            ordered.setdefault(one.field, []).append(one)
        else:
            yield one
    for of_field in ordered.values():
        yield Range(tuple(of_field)) if len(of_field) > 1 else of_field[0]


def values_of(row: AssetRow) -> list[Any]:
    """What is stored in the columns of `VALUED`."""
    return [_typed(field, _value(field, row)) for field in VALUED]


def labels_of(row: AssetRow) -> set[tuple[str, str]]:
    """List fields with each of their texts; a text counts as a list of its characters."""
    return {
        (field, one)
        for field in LISTS
        if isinstance(value := row.metadata.get(field), list | str)
        for one in value
        if isinstance(one, str)
    }


def query_of(leaf: Compare | Under | Range) -> Asked | None:
    """The query for a comparison; None if rows have to be read.

    >>> from search.filters import parse_filter
    >>> query_of(parse_filter({"field": "width", "gt": 5}))
    Asked(sql="SELECT no FROM asset WHERE asset_width > ? AND asset_width < x''", values=(5,))
    """
    if isinstance(leaf, Under):
        return _under(leaf)
    if isinstance(leaf, Range):
        asked = [_condition(column_of(one.field), one) for one in leaf.parts]
        both = " AND ".join(one for one, _ in asked)
        found = tuple(value for _, of_one in asked for value in of_one)
        return Asked(f"SELECT no FROM asset WHERE {both}", found)
    if leaf.field.startswith(METADATA):
        return None
    kind = kind_of(leaf.field)
    if kind is Kind.PATHS:
        return _paths(leaf.operator, leaf.values)
    if kind is Kind.TEXTS:
        if leaf.operator is Operator.EXISTS:
            return None
        return Asked("SELECT no FROM label WHERE field = ? AND value = ?", (leaf.field, leaf.value))
    condition, values = _condition(column_of(leaf.field), leaf)
    return Asked(f"SELECT no FROM asset WHERE {condition}", tuple(values))


def _condition(column: str, asked: Compare) -> tuple[str, Sequence[Any]]:
    marks = ", ".join("?" * len(asked.values))
    match asked.operator:
        case Operator.EXISTS:
            return f"{column} IS {'NOT ' if asked.value else ''}NULL AND row IS NOT NULL", ()
        case Operator.EQ | Operator.IN:
            return f"{column} IN ({marks})", asked.values
        case Operator.NE | Operator.NIN:
            return f"{column} NOT IN ({marks})", asked.values
        case Operator.CONTAINS:
            return f"typeof({column}) = 'text' AND instr({column}, ?) > 0", asked.values
        case Operator.PREFIX:
            return _begins(column, str(asked.value))
    compared = f"{column} {symbol_of(asked.operator)} ?"
    if asked.operator in (Operator.GT, Operator.GTE):
        return f"{compared} AND {column} < x''", asked.values
    return compared, asked.values


def _begins(column: str, prefix: str) -> tuple[str, Sequence[Any]]:
    after = text_after(prefix)
    if after is None:
        return f"{column} >= ? AND {column} < x''", (prefix,)
    return f"{column} >= ? AND {column} < ?", (prefix, after)


def _paths(operator: Operator, values: Sequence[Any]) -> Asked | None:
    if operator in (Operator.EQ, Operator.IN):
        marks = ", ".join("?" * len(values))
        return Asked(f"SELECT no FROM location WHERE uri IN ({marks})", tuple(values))
    if operator is Operator.PREFIX:
        condition, bounds = _begins("uri", str(values[0]))
        return Asked(f"SELECT no FROM location WHERE {condition}", tuple(bounds))
    if operator is Operator.CONTAINS:
        return Asked("SELECT no FROM location WHERE instr(uri, ?) > 0", tuple(values))
    return None


def _under(leaf: Under) -> Asked | None:
    asked = leaf.asked
    if asked.operator in (Operator.EQ, Operator.IN):
        inner = [f"{folder}{value}" for folder in leaf.folders for value in asked.values]
        return _paths(Operator.IN, inner)
    if asked.operator is not Operator.PREFIX:
        return None
    parts = [_paths(Operator.PREFIX, [f"{folder}{asked.value}"]) for folder in leaf.folders]
    found = [part for part in parts if part]
    return Asked(
        " UNION ALL ".join(part.sql for part in found),
        tuple(value for part in found for value in part.values),
    )


def _value(field: str, row: AssetRow) -> Any:
    return getattr(row, field) if field in COLUMNS else row.metadata.get(field)


def _typed(field: str, value: Any) -> Any:
    if value is None:
        return None
    if kind_of(field) in _NUMBERS:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        return value if fits else OTHER
    return str(value) if isinstance(value, str) else OTHER
