"""The language of filters: JSON, and conditions as people write them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from encoder.errors import InputError
from search.filters.tree import (
    SYMBOLS,
    And,
    Compare,
    FieldKind,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
    kind_of,
)

MAX_DEPTH = 16
MAX_CONDITIONS = 256
_WRITTEN = re.compile(r"([^=!<>]+)(==?|!=|>=|<=|>|<)(.*)", re.DOTALL)
_SIGNS = {"=": Operator.EQ, "==": Operator.EQ, "!=": Operator.NE}
_SIGNS |= {sign: operator for operator, sign in SYMBOLS.items()}
_QUOTES = frozenset("\"'“”„‟«»‹›‘’‚‛「」『』＂＇")


def parse_filter(data: Any, where: str = "filter") -> Filter:
    """A filter from plain JSON values.

    Args:
        data: ``{"and": [...]}``, ``{"or": [...]}``, ``{"not": {...}}``, or one field with one or
            more operators, which must all hold: ``{"field": "duration_s", "gte": 5, "lt": 60}``.
            A text is JSON, or one condition as people write it: ``rating >= 4``.
        where: the name of ``data`` in messages.

    >>> parse_filter("language = “en”")
    Compare(field='language', operator=<Operator.EQ: 'eq'>, value='en')

    >>> parse_filter({"not": {"field": "modified", "lt": "2026-01-01"}})
    Not(part=Compare(field='modified', operator=<Operator.LT: 'lt'>, value=1767225600.0))

    Raises:
        InputError: not a filter; the message says where and what was wanted.
    """
    return _Parser().parse(data, where, 0)


class _Parser:
    """Counts the conditions of one filter."""

    def __init__(self) -> None:
        self._n_conditions = 0

    def parse(self, data: Any, where: str, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise InputError(where, got="deeper nesting", wanted=f"{MAX_DEPTH} levels at most")
        if isinstance(data, str):
            data = _read(data, where)
        if not isinstance(data, Mapping):
            raise InputError(where, got=_kind(data), wanted="an object")
        match list(data):
            case ["and"]:
                return And(self._parse_all(data["and"], f"{where}.and", depth + 1))
            case ["or"]:
                return Or(self._parse_all(data["or"], f"{where}.or", depth + 1))
            case ["not"]:
                return Not(self.parse(data["not"], f"{where}.not", depth + 1))
        return self._parse_field(data, where)

    def _parse_all(self, data: Any, where: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(data, Sequence) or isinstance(data, str) or not data:
            raise InputError(where, got=_kind(data), wanted="a list of at least one condition")
        return tuple(
            self.parse(operand, f"{where}[{position}]", depth)
            for position, operand in enumerate(data)
        )

    def _parse_field(self, data: Mapping[str, Any], where: str) -> Filter:
        operators = [str(name) for name in data if name != "field"]
        field = data.get("field")
        if not isinstance(field, str) or not operators:
            raise InputError(
                where,
                got=f"the keys {', '.join(map(str, data)) or '(none)'}",
                wanted='{"and": […]}, {"or": […]}, {"not": {…}}, or {"field": NAME, OPERATOR: …}',
            )
        parts = tuple(self._parse_comparison(field, name, data[name], where) for name in operators)
        return parts[0] if len(parts) == 1 else And(parts)

    def _parse_comparison(self, field: str, name: str, value: Any, where: str) -> Filter:
        self._n_conditions += 1
        if self._n_conditions > MAX_CONDITIONS:
            raise InputError(
                where, got="more conditions", wanted=f"{MAX_CONDITIONS} conditions at most"
            )
        if name not in list(Operator):
            raise InputError(where, got=f"the operator {name!r}", wanted=", ".join(Operator))
        try:
            return _compared(field, Operator(name), value)
        except InputError as error:
            location = f"{where}.{error.argument}"
            raise InputError(location, got=error.got, wanted=error.wanted) from None


def _compared(field: str, operator: Operator, value: Any) -> Filter:
    """A comparison; a list equals a text that is in it."""
    field_kind = kind_of(field)
    if field_kind is FieldKind.TEXTS and operator in (Operator.EQ, Operator.NE):
        contained = Compare(field, Operator.CONTAINS, value)
        is_given = Compare(field, Operator.EXISTS, True)
        return contained if operator is Operator.EQ else And((is_given, Not(contained)))
    return Compare(field, operator, _value(value, field_kind))


def _read(text: str, where: str) -> Any:
    """JSON, or a condition such as ``rating >= 4``, as plain values."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(where, got=f"{text[:80]!r}: {error}", wanted="JSON") from None
    written = _WRITTEN.fullmatch(text)
    if not written:
        wanted = 'FIELD=VALUE, FIELD>=VALUE … or JSON: {"field": …}'
        raise InputError(where, got=repr(text[:80]), wanted=wanted)
    field, sign, value = map(str.strip, written.groups())
    return {"field": field, _SIGNS[sign]: _written_value(value, kind_of(field))}


def _written_value(text: str, field_kind: FieldKind) -> Scalar:
    """A number where the field has numbers, or may have them and no quotes are around it."""
    is_quoted = len(text) > 1 and {text[0], text[-1]} <= _QUOTES
    bare = text[1:-1] if is_quoted else text
    may_be_number = field_kind in (FieldKind.NUMBER, FieldKind.TIME)
    if may_be_number or (field_kind is FieldKind.ANY and not is_quoted):
        try:
            value = json.loads(bare)
        except ValueError:
            return bare
        return value if isinstance(value, int | float) else bare
    return bare


def _value(data: Any, field_kind: FieldKind) -> Any:
    """Lists as tuples, dates as seconds; `Compare` checks them."""
    if isinstance(data, Sequence) and not isinstance(data, str):
        return tuple(_value(element, field_kind) for element in data)
    return _seconds(data) if field_kind is FieldKind.TIME else data


def _seconds(data: Any) -> Scalar:
    """Seconds since 1970 of an ISO date or time; without a zone it is UTC."""
    if not isinstance(data, str):
        return data  # type: ignore[no-any-return]
    try:
        time = datetime.fromisoformat(data)
    except ValueError:
        return data
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _kind(data: Any) -> str:
    return "an empty list" if data == [] else f"a {type(data).__name__}"
