"""Filters as expressions of Milvus. Pure.

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

from search.filters.expressions import quote
from search.filters.folders import MANY_FOLDERS, folder_key
from search.filters.match import COLUMNS
from search.filters.tree import (
    ORDER,
    And,
    Compare,
    Filter,
    Kind,
    Not,
    Operator,
    Or,
    Scalar,
    Under,
    kind_of,
    metadata_keys,
)

_SYMBOLS = {
    Operator.EQ: "==",
    Operator.NE: "!=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
}
_COMPLEMENTS = {
    Operator.EQ: Operator.NE,
    Operator.IN: Operator.NIN,
    Operator.GT: Operator.LTE,
    Operator.LT: Operator.GTE,
}
_COMPLEMENTS |= {other: one for one, other in _COMPLEMENTS.items()}
FROM_THE_START = frozenset({Operator.EQ, Operator.IN, Operator.PREFIX})
_NOTHING = 'asset_id == ""'


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
    """The expression that finds all assets of a filter.

    Args:
        filter: values reach the expression as quoted literals only, keys as quoted names.
        infix: whether the store knows ``like "%part%"`` (Lite does, servers since 2.4 do).

    >>> from search.filters import parse_filter
    >>> compile_filter(parse_filter({"field": "modality", "in": ["image", "video"]}))
    Compiled(expression='modality in ["image", "video"]', exact=True)
    >>> compile_filter(parse_filter({"field": "tags", "contains": "sea"})).expression
    'json_contains_any(metadata["tags"], ["sea"])'
    """
    return Compiler(infix).compile(filter, negated=False)


@dataclass(frozen=True)
class Compiler:
    """Compiles a filter for the commit rows; see `compile_filter`."""

    infix: bool

    def compile(self, filter: Filter, *, negated: bool) -> Compiled:
        """The expression of a filter, or of its complement."""
        match filter:
            case Not(part):
                return self.compile(part, negated=not negated)
            case And(parts) | Or(parts):
                compiled = [self.compile(part, negated=negated) for part in parts]
                return _joined(compiled, is_and=isinstance(filter, And) is not negated)
            case Compare():
                return self._comparison(filter, negated)
            case Under():
                return _MAYBE_ALL if negated else self._under(filter)

    def _comparison(self, asked: Compare, negated: bool) -> Compiled:
        if asked.field in COLUMNS:
            return self._column(asked, negated, asked.field)
        if negated:
            return _MAYBE_ALL
        if kind_of(asked.field) is Kind.PATHS:
            return self._paths(asked.values) if asked.operator in FROM_THE_START else _MAYBE_ALL
        return Compiled(self._json(asked, "metadata"), False)

    def _column(self, asked: Compare, negated: bool, column: str) -> Compiled:
        """A column always has a value of its type, so everything is exact except substrings."""
        kind = kind_of(asked.field)
        if asked.operator is Operator.EXISTS:
            return _ALL if asked.value is not negated else Compiled(_NOTHING, True)
        if asked.operator is Operator.CONTAINS:
            return Compiled("" if negated else self._part(column, str(asked.value)), False)
        if asked.operator is Operator.PREFIX:
            return Compiled(_prefix(column, str(asked.value), negated=negated), True)
        operator = _COMPLEMENTS[asked.operator] if negated else asked.operator
        if kind is Kind.NUMBER:
            return _integers(column, operator, asked.values)
        if operator in (Operator.IN, Operator.NIN):
            listed = ", ".join(map(literal, asked.values))
            return Compiled(f"{column} {_list_symbol(operator)} [{listed}]", True)
        return Compiled(f"{column} {symbol_of(operator)} {literal(asked.values[0])}", True)

    def _json(self, asked: Compare, column: str) -> str:
        place = column + "".join(f"[{quote(key)}]" for key in metadata_keys(asked.field))
        if asked.operator in (Operator.EQ, Operator.IN):
            return any_of(f"{place} == {literal(value)}" for value in asked.values)
        if asked.operator in ORDER:
            return f"{place} {symbol_of(asked.operator)} {literal(asked.values[0])}"
        if asked.operator is Operator.PREFIX:
            return _prefix(place, str(asked.value))
        if asked.operator is Operator.CONTAINS:
            return self._contains(place, asked)
        return ""

    def _under(self, filter: Under) -> Compiled:
        asked = filter.asked
        if asked == Compare(asked.field, Operator.EXISTS, False):
            return _MAYBE_ALL
        inner = asked.values if asked.operator in FROM_THE_START else ("",)
        return self._paths([f"{folder}{start}" for folder in filter.folders for start in inner])

    def _paths(self, starts: Sequence[Scalar]) -> Compiled:
        """Assets with a path that begins like one of these."""
        keys = [folder_key(str(start)) for start in starts]
        known = [key for key in keys if key is not None]
        if len(known) < len(keys):
            return _MAYBE_ALL
        texts = (f"array_contains(folders, {quote(key)})" for key in [*known, MANY_FOLDERS])
        return Compiled(any_of(texts), False)

    def _contains(self, place: str, asked: Compare) -> str:
        """A list with this element, or a text with this part."""
        (value,) = asked.values
        kind = kind_of(asked.field)
        choices = []
        if kind is not Kind.TEXT:
            # Not json_contains: Lite refuses a negative number there.
            choices.append(f"json_contains_any({place}, [{', '.join(_literals(value))}])")
        if kind is not Kind.TEXTS and isinstance(value, str):
            choices.append(self._part(place, value))
        return any_of(choices)

    def _part(self, place: str, part: str) -> str:
        """Texts with at least the longest piece without wildcards, which cannot be escaped."""
        pieces = part.translate(str.maketrans("%_\\", "%%%")).split("%")
        piece = max(pieces, key=len)
        if self.infix and piece:
            return f"{place} like {quote(f'%{piece}%')}"
        return f'{place} >= ""'


def _integers(column: str, operator: Operator, values: Sequence[Scalar]) -> Compiled:
    """Milvus 2.3 refuses to compare an integer with 5.5."""
    numbers = [float(value) for value in values]
    if operator in ORDER:
        # For integers, x > 5.5 is the same as x > 5, and x < 5.5 as x < 6.
        round_ = math.floor if operator in (Operator.GT, Operator.LTE) else math.ceil
        return Compiled(f"{column} {symbol_of(operator)} {round_(numbers[0])}", True)
    whole = ", ".join(str(int(number)) for number in numbers if number.is_integer())
    wants = operator in (Operator.EQ, Operator.IN)
    if not whole:
        return Compiled(_NOTHING, True) if wants else _ALL
    return Compiled(f"{column} {'in' if wants else 'not in'} [{whole}]", True)


def _list_symbol(operator: Operator) -> str:
    return "in" if operator is Operator.IN else "not in"


def _prefix(place: str, prefix: str, *, negated: bool = False) -> str:
    """The range from the prefix to the first text after all that begin with it."""
    after = text_after(prefix)
    if negated:
        below = f"{place} < {quote(prefix)}"
        return below if after is None else f"({below} or {place} >= {quote(after)})"
    begins = f"{place} >= {quote(prefix)}"
    return begins if after is None else f"({begins} and {place} < {quote(after)})"


def text_after(prefix: str) -> str | None:
    """The least text that is greater than all with this prefix; both compare by code points."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return None
    code = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if code == 0xD800 else code)  # surrogates are not characters


def _literals(value: Scalar) -> list[str]:
    """A value as an integer and as a float: Milvus 2.3 does not find the element 1.0 by 1."""
    if isinstance(value, str | bool):
        return [literal(value)]
    kinds = [int(value), float(value)] if float(value).is_integer() else [value]
    return [literal(kind) for kind in kinds]


def symbol_of(operator: Operator) -> str:
    """The symbol of a comparison in Milvus."""
    return _SYMBOLS[operator]


def literal(value: Scalar) -> str:
    """A value in an expression."""
    return quote(value) if isinstance(value, str) else json.dumps(value)


def _joined(parts: Sequence[Compiled], *, is_and: bool) -> Compiled:
    """Join parts; the whole is exact only if all of them are. An empty expression is true."""
    exact = all(part.exact for part in parts)
    said = [part.expression for part in parts if part.expression]
    if is_and:
        return Compiled(_tree(said, "and"), exact)
    return Compiled(_tree(said, "or") if len(said) == len(parts) else "", exact)


def any_of(expressions: Iterable[str]) -> str:
    """An expression that holds where one of these does."""
    return _tree(list(dict.fromkeys(expressions)), "or")


def _tree(expressions: Sequence[str], word: str) -> str:
    """Joined pairwise: Milvus 2.3.5 takes more than 30 s to parse a chain of 1,000."""
    if len(expressions) < 2:
        return "".join(expressions)
    middle = len(expressions) // 2
    left, right = _tree(expressions[:middle], word), _tree(expressions[middle:], word)
    return f"({left} {word} {right})"
