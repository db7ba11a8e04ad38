"""Filters as expressions of Milvus, over commit rows or over segments. Pure.

An expression finds every asset for which the filter holds, and may find more: Milvus cannot
express some conditions, and its versions differ on missing keys, on true and 1, and on paths into
lists. Only conditions on columns, which are never missing, are exact. So a complement of anything
else is not sent to Milvus at all, and its results are checked by `search.filters.matches`.

Only the part of the grammar is used that Milvus Lite 3.2 and servers since 2.3.5 interpret in the
same way: comparisons, ``in`` on columns, ``json_contains_any``, ``array_contains``, ``like`` with
``%`` at both ends where the store has it, and/or. A prefix is a range, without wildcards.
``exists`` is not used: Milvus 2.3.5 refuses it together with and/or, and it narrows few filters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.filters.columns import (
    ANYWHERE,
    CUT_COLUMN,
    MANY_FOLDERS,
    METADATA_COLUMN,
    MISSING_NUMBER,
    column_of,
    folder_key,
    key_number,
    tag_key,
)
from search.filters.match import COLUMNS
from search.filters.tree import (
    FIELDS,
    METADATA,
    ORDER,
    SYMBOLS,
    And,
    Compare,
    FieldKind,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
    Under,
    kind_of,
    metadata_keys,
    text_after,
)

# Only these escapes are known to both Milvus Lite and the server's grammar.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)
_SYMBOLS = {**SYMBOLS, Operator.EQ: "==", Operator.NE: "!="}
_COMPLEMENTS = {
    Operator.EQ: Operator.NE,
    Operator.IN: Operator.NIN,
    Operator.GT: Operator.LTE,
    Operator.LT: Operator.GTE,
}
_COMPLEMENTS |= {complement: operator for operator, complement in _COMPLEMENTS.items()}
_FROM_THE_START = frozenset({Operator.EQ, Operator.IN, Operator.PREFIX})
_NOTHING = 'asset_id == ""'
_WHOLE_BYTES = 200
"""A text that was cut compares with texts of up to this many bytes as the whole one does."""


def quote(value: str) -> str:
    """A string literal that stands for exactly this value.

    >>> print(quote('a" || true'))
    "a\\" || true"
    """
    return f'"{value.translate(_ESCAPES)}"'


def equals(field: str, value: str) -> str:
    """Rows whose ``field`` is ``value``.

    >>> equals("modality", "image")
    'modality == "image"'
    """
    return f"{field} == {quote(value)}"


def beyond(field: str, value: str) -> str:
    """Rows whose ``field`` comes after ``value``.

    >>> beyond("asset_id", "a")
    'asset_id > "a"'
    """
    return f"{field} > {quote(value)}"


def among(field: str, values: Sequence[str]) -> str:
    """Rows whose ``field`` is one of ``values``, at least one: Milvus's versions differ on none.

    >>> among("asset_id", ["a", "b"])
    'asset_id in ["a", "b"]'
    """
    return f"{field} in [{', '.join(map(quote, values))}]"


@dataclass(frozen=True)
class Compiled:
    """An expression over the assets; an empty one matches all.

    ``exact``: it finds the filter's assets and no others.
    """

    expression: str
    exact: bool


_ALL = Compiled("", True)
_MAYBE_ALL = Compiled("", False)


def compile_filter(filter: Filter, *, infix: bool = False) -> Compiled:
    """The expression that finds the commit rows of all assets of a filter.

    Args:
        filter: values reach the expression as quoted literals only, keys as quoted names.
        infix: whether the store knows ``like "%part%"`` (Lite does, servers since 2.4 do).

    >>> from search.filters import parse_filter
    >>> compile_filter(parse_filter({"field": "modality", "in": ["image", "video"]}))
    Compiled(expression='modality in ["image", "video"]', exact=True)
    >>> compile_filter(parse_filter({"field": "tags", "contains": "sea"})).expression
    'json_contains_any(metadata["tags"], ["sea"])'
    """
    return _Compiler(infix).compile(filter, negated=False)


def compile_for_segments(filter: Filter, *, infix: bool) -> str:
    """The expression that finds all segments of a filter's assets; empty for all segments.

    It compares the columns of `search.filters.columns`, as servers have them.

    Args:
        filter: as in `compile_filter`.
        infix: likewise.

    >>> from search.filters import parse_filter
    >>> compile_for_segments(parse_filter({"field": "width", "gt": 5}), infix=False)
    'asset_width > 5.0'
    """
    return _SegmentCompiler(infix).compile(filter, negated=False).expression


@dataclass(frozen=True)
class _Compiler:
    """Compiles a filter for the commit rows; see `compile_filter`."""

    infix: bool

    def compile(self, filter: Filter, *, negated: bool) -> Compiled:
        match filter:
            case Not(operand):
                return self.compile(operand, negated=not negated)
            case And(parts) | Or(parts):
                compiled = [self.compile(operand, negated=negated) for operand in parts]
                return _joined(compiled, is_and=isinstance(filter, And) is not negated)
            case Compare():
                return self._comparison(filter, negated)
            case Under(folders, comparison):
                unbounded = Compare(comparison.field, Operator.EXISTS, False)
                if negated or comparison == unbounded:
                    return _MAYBE_ALL
                is_start = comparison.operator in _FROM_THE_START
                starts = comparison.values if is_start else ("",)
                return self._paths([f"{folder}{start}" for folder in folders for start in starts])

    def _comparison(self, comparison: Compare, negated: bool) -> Compiled:
        if comparison.field in COLUMNS:
            return self._column(comparison, negated, comparison.field)
        if negated:
            return _MAYBE_ALL
        if kind_of(comparison.field) is FieldKind.PATHS:
            is_start = comparison.operator in _FROM_THE_START
            return self._paths(comparison.values) if is_start else _MAYBE_ALL
        return Compiled(self._json(comparison, "metadata"), False)

    def _column(self, comparison: Compare, negated: bool, column: str) -> Compiled:
        """A column always has a value of its type, so everything is exact except substrings."""
        operator = comparison.operator
        if operator is Operator.EXISTS:
            return _ALL if comparison.value is not negated else Compiled(_NOTHING, True)
        if operator is Operator.CONTAINS:
            return Compiled("" if negated else self._infix(column, str(comparison.value)), False)
        if operator is Operator.PREFIX:
            return Compiled(_prefix(column, str(comparison.value), negated=negated), True)
        operator = _COMPLEMENTS[operator] if negated else operator
        if kind_of(comparison.field) is FieldKind.NUMBER:
            return _integers(column, operator, comparison.values)
        if operator in (Operator.IN, Operator.NIN):
            literals = ", ".join(map(_literal, comparison.values))
            symbol = "in" if operator is Operator.IN else "not in"
            return Compiled(f"{column} {symbol} [{literals}]", True)
        return Compiled(f"{column} {_SYMBOLS[operator]} {_literal(comparison.values[0])}", True)

    def _json(self, comparison: Compare, column: str) -> str:
        path = column + "".join(f"[{quote(key)}]" for key in metadata_keys(comparison.field))
        operator = comparison.operator
        if operator in (Operator.EQ, Operator.IN):
            return _any_of(f"{path} == {_literal(value)}" for value in comparison.values)
        if operator in ORDER:
            return f"{path} {_SYMBOLS[operator]} {_literal(comparison.values[0])}"
        if operator is Operator.PREFIX:
            return _prefix(path, str(comparison.value))
        if operator is Operator.CONTAINS:
            return self._contains(path, comparison)
        return ""

    def _paths(self, starts: Sequence[Scalar]) -> Compiled:
        """Assets with a path that begins like one of these."""
        keys = [folder_key(str(start)) for start in starts]
        return self._in_folders([key for key in keys if key]) if all(keys) else _MAYBE_ALL

    def _in_folders(self, keys: Sequence[str]) -> Compiled:
        texts = (f"array_contains(folders, {quote(key)})" for key in [*keys, MANY_FOLDERS])
        return Compiled(_any_of(texts), False)

    def _contains(self, path: str, comparison: Compare) -> str:
        """A list with this element, or a text with this part."""
        (value,) = comparison.values
        field_kind = kind_of(comparison.field)
        choices = []
        if field_kind is not FieldKind.TEXT:
            # Not json_contains: Lite refuses a negative number there. As an integer and as a
            # float: Milvus 2.3 does not find the element 1.0 by 1.
            is_whole = not isinstance(value, str | bool) and float(value).is_integer()
            elements = [int(value), float(value)] if is_whole else [value]
            choices.append(f"json_contains_any({path}, [{', '.join(map(_literal, elements))}])")
        if field_kind is not FieldKind.TEXTS and isinstance(value, str):
            choices.append(self._infix(path, value))
        return _any_of(choices)

    def _infix(self, path: str, text: str) -> str:
        """Texts with at least the longest piece without wildcards, which cannot be escaped."""
        pieces = text.translate(str.maketrans("%_\\", "%%%")).split("%")
        piece = max(pieces, key=len)
        if self.infix and piece:
            return f"{path} like {quote(f'%{piece}%')}"
        return f'{path} >= ""'


class _SegmentCompiler(_Compiler):
    """The same for segments; see `compile_for_segments`."""

    def _comparison(self, comparison: Compare, negated: bool) -> Compiled:
        column, operator = column_of(comparison.field), comparison.operator
        if comparison.field in COLUMNS:
            return self._column(comparison, negated, column)
        if negated or operator in (Operator.NE, Operator.NIN, Operator.EXISTS):
            return _MAYBE_ALL
        if comparison.field.startswith(METADATA):
            if metadata_keys(comparison.field)[0] in FIELDS:
                return _MAYBE_ALL
            return Compiled(_or_cut(self._json(comparison, METADATA_COLUMN)), False)
        field_kind = kind_of(comparison.field)
        if field_kind in (FieldKind.NUMBER, FieldKind.TIME):
            return Compiled(_numbers(column, comparison), False)
        if field_kind is FieldKind.PATHS:
            return super()._comparison(comparison, negated)
        if field_kind is FieldKind.TEXTS:
            return _having(column, [tag_key(str(comparison.value))])
        values = [str(value) for value in comparison.values]
        if operator is Operator.CONTAINS:
            return Compiled(_or_cut(self._infix(column, values[0])), False)
        if max(len(value.encode(errors="replace")) for value in values) > _WHOLE_BYTES:
            return _MAYBE_ALL
        return self._column(comparison, False, column)

    def _in_folders(self, keys: Sequence[str]) -> Compiled:
        return _having(column_of("path"), keys)


def _having(column: str, keys: Sequence[str]) -> Compiled:
    numbers = dict.fromkeys([*map(key_number, keys), ANYWHERE])
    return Compiled(_any_of(f"array_contains({column}, {number})" for number in numbers), False)


def _or_cut(expression: str) -> str:
    return _any_of([expression, f"{CUT_COLUMN} == true"]) if expression else ""


def _numbers(column: str, comparison: Compare) -> str:
    """Values are written as floats: Milvus compares floats only with floats."""
    values = [_literal(float(value)) for value in comparison.values]
    if comparison.operator not in ORDER:
        return f"{column} in [{', '.join(values)}]"
    expression = f"{column} {_SYMBOLS[comparison.operator]} {values[0]}"
    if comparison.operator in (Operator.GT, Operator.GTE):
        return expression
    return f"({column} > {MISSING_NUMBER} and {expression})"


def _integers(column: str, operator: Operator, values: Sequence[Scalar]) -> Compiled:
    """Milvus 2.3 refuses to compare an integer with 5.5."""
    numbers = [float(value) for value in values]
    if operator in ORDER:
        # For integers, x > 5.5 is the same as x > 5, and x < 5.5 as x < 6.
        round_ = math.floor if operator in (Operator.GT, Operator.LTE) else math.ceil
        return Compiled(f"{column} {_SYMBOLS[operator]} {round_(numbers[0])}", True)
    whole = ", ".join(str(int(number)) for number in numbers if number.is_integer())
    is_among = operator in (Operator.EQ, Operator.IN)
    if not whole:
        return Compiled(_NOTHING, True) if is_among else _ALL
    return Compiled(f"{column} {'in' if is_among else 'not in'} [{whole}]", True)


def _prefix(path: str, prefix: str, *, negated: bool = False) -> str:
    """The range from the prefix to the first text after all that begin with it."""
    after = text_after(prefix)
    if negated:
        below = f"{path} < {quote(prefix)}"
        return below if after is None else f"({below} or {path} >= {quote(after)})"
    begins = f"{path} >= {quote(prefix)}"
    return begins if after is None else f"({begins} and {path} < {quote(after)})"


def _literal(value: Scalar) -> str:
    return quote(value) if isinstance(value, str) else json.dumps(value)


def _joined(parts: Sequence[Compiled], *, is_and: bool) -> Compiled:
    """Join parts; the whole is exact only if all of them are. An empty expression is true."""
    exact = all(operand.exact for operand in parts)
    expressions = [operand.expression for operand in parts if operand.expression]
    if is_and:
        return Compiled(_tree(expressions, "and"), exact)
    return Compiled(_tree(expressions, "or") if len(expressions) == len(parts) else "", exact)


def _any_of(expressions: Iterable[str]) -> str:
    return _tree(list(dict.fromkeys(expressions)), "or")


def _tree(expressions: Sequence[str], word: str) -> str:
    """Joined pairwise: Milvus 2.3.5 takes more than 30 s to parse a chain of 1,000."""
    if len(expressions) < 2:
        return "".join(expressions)
    middle = len(expressions) // 2
    first, second = _tree(expressions[:middle], word), _tree(expressions[middle:], word)
    return f"({first} {word} {second})"
