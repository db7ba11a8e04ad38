"""What a filter names that no asset has, each with the nearest name that one has.

A filter that finds nothing, or leaves nothing out, looks like a right answer: a misspelt name, a
capital letter or a number instead of a text is not noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from typing import Any

from search.filters import And, Compare, Filter, Not, Operator, Or, Under
from search.filters.match import value_of
from search.filters.tree import METADATA, ORDER, FieldKind, Scalar, kind_of
from search.store.base import VectorStore
from search.types import FILE_FACTS, AssetRow

_MOST_CHECKED = 16
_MOST_READ = 5000
"""Assets in which names are looked for, in the order of their ids: at random."""
_FEW = 8
_COMPLEMENTS = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}


def unmatched(
    filter: Filter | None,
    store: VectorStore,
    *,
    is_empty: bool,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Warnings about a filter, in words.

    Args:
        filter: as it was asked for.
        store: where to look; for a key with a filter, the part that it sees.
        is_empty: whether nothing passed it. What passed a plain conjunction has all that it names.
        check: raises if there is no time left.
    """
    if filter is None or (not is_empty and not _has_choice(filter)):
        return []
    known_names, warnings = _KnownNames(store), list[str]()
    for comparison in dict.fromkeys(islice(_comparisons(filter), _MOST_CHECKED)):
        check()
        warnings.append(known_names.warning(comparison))
    return [warning for warning in warnings if warning]


def _has_choice(filter: Filter) -> bool:
    match filter:
        case And(parts):
            return any(map(_has_choice, parts))
        case Compare(_, operator, value):
            return operator in _COMPLEMENTS or value is False
        case _:
            return not isinstance(filter, Under)


def _comparisons(filter: Filter) -> Iterator[Compare]:
    """Comparisons with what is named, not with what is left out."""
    match filter:
        case And(operands) | Or(operands):
            for operand in operands:
                yield from _comparisons(operand)
        case Not(operand):
            yield from _comparisons(operand)
        case Compare(field, operator, value):
            yield Compare(field, _COMPLEMENTS.get(operator, operator), value)


class _KnownNames:
    """The fields and values of a store's assets."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._rows: list[AssetRow] | None = None

    def warning(self, comparison: Compare) -> str:
        """What no asset has of a comparison; empty if one has it."""
        field = comparison.field
        asks_for_field = comparison.operator is Operator.EXISTS
        is_given = replace(comparison, operator=Operator.EXISTS, value=True)
        if self._holds(is_given if asks_for_field else comparison):
            return ""
        values = self._values(field)
        if values or (not asks_for_field and self._holds(is_given)):
            return _about_values(comparison, values)
        if not field.startswith(METADATA):
            return "" if asks_for_field else f"No file has a value of {field}."
        return f"No file has a value of {field}.{_instead(nearest(field, self._fields()))}"

    def _holds(self, filter: Filter) -> bool:
        return next(iter(self._store.select(filter, limit=1)), None) is not None

    def _sample(self) -> list[AssetRow]:
        if self._rows is None:
            self._rows = list(islice(self._store.scan(), _MOST_READ))
        return self._rows

    def _fields(self) -> set[str]:
        return {
            f"{METADATA}{name}"
            for row in self._sample()
            for name in _names(row.metadata)
            if name not in FILE_FACTS
        }

    def _values(self, field: str) -> dict[Scalar, None]:
        """The values of a field, those in lists one by one."""
        values: dict[Scalar, None] = {}
        for row in self._sample():
            stored = row.locations if kind_of(field) is FieldKind.PATHS else value_of(field, row)
            several = stored if isinstance(stored, list | tuple) else [stored]
            values.update((value, None) for value in several if isinstance(value, Scalar))
        return values


def _about_values(comparison: Compare, values: Collection[Scalar]) -> str:
    """What is wrong with a value, if any: a bound or a part of a text may hold for nothing."""
    field, wanted = comparison.field, comparison.values[0]
    alike = [value for value in values if isinstance(value, str) is isinstance(wanted, str)]
    if values and not alike:
        example = next(iter(values))
        types = "texts" if isinstance(example, str) else "numbers, true or false"
        return f"No file has {wanted!r} as {field}: values there are {types}, such as {example!r}."
    field_kind = kind_of(field)
    is_part = comparison.operator in (Operator.PREFIX, Operator.CONTAINS)
    if comparison.operator in ORDER or (is_part and field_kind is FieldKind.TEXT):
        return ""
    names = [
        value for value in alike if isinstance(value, str) and field_kind is not FieldKind.PATHS
    ]
    near = nearest(wanted, names) if isinstance(wanted, str) else []
    shown = ", ".join(map(repr, comparison.values[:_FEW]))
    return f"No file has {shown} as {field}.{_instead([repr(name) for name in near])}"


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The names most like one; all of them if none is, and they are few.

    >>> nearest("baech", ["beach", "city"]), nearest("EN", ["de", "en"])
    (['beach'], ['en'])
    >>> nearest("english", ["en", "de"])
    ['de', 'en']
    """
    folded: dict[str, str] = {other.casefold(): other for other in sorted(known)}
    close = get_close_matches(name.casefold(), folded, 3, 0.7)
    if close:
        return [folded[other] for other in close]
    return list(folded.values()) if len(folded) <= _FEW else []


def _instead(names: Sequence[str]) -> str:
    return f" Files have {', '.join(names)}." if names else ""


def _names(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths to all values in metadata."""
    for key, value in metadata.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
