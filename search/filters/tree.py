"""The filter tree: comparisons of an asset's fields, joined by and, or, not. Pure.

A filter holds for an asset or does not; there is no third value:

- A field that is missing (or null) fails every comparison, even ``ne`` and ``nin``; only
  ``exists: false`` holds for it. ``not`` is the plain complement, so that
  ``not {"field": "language", "eq": "en"}`` holds for an asset without a language.
- Values of different types are not equal, and neither is before the other. All numbers are one
  type; true and false are another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, StrEnum
from typing import TypeAlias

from encoder.errors import InputError

Scalar: TypeAlias = str | int | float | bool

MAX_VALUES = 1000
MAX_VALUE_CHARS = 4096
# Beyond it, JSON's numbers are not exact: most programs read them as doubles.
MAX_NUMBER = 2**53
METADATA = "metadata."
_MAX_KEYS = 8
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, which no store takes


class Operator(StrEnum):
    EQ = "eq"
    NE = "ne"
    IN = "in"
    NIN = "nin"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    PREFIX = "prefix"
    CONTAINS = "contains"
    EXISTS = "exists"


class FieldKind(Enum):
    TEXT = "a string"
    NUMBER = "a number"
    TIME = "an ISO date such as '2026-01-31', or seconds since 1970"
    TEXTS = "a string (one tag)"
    PATHS = "a string (a path)"
    ANY = "a string, a number, true or false"


EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IN, Operator.NIN})
SYMBOLS = {Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<="}
ORDER = frozenset(SYMBOLS)
PARTS = frozenset({Operator.PREFIX, Operator.CONTAINS})

_ALLOWED = {
    FieldKind.TEXT: EQUALITY | ORDER | PARTS,
    FieldKind.NUMBER: EQUALITY | ORDER,
    FieldKind.TIME: EQUALITY | ORDER,
    FieldKind.TEXTS: frozenset({Operator.CONTAINS}),
    FieldKind.PATHS: EQUALITY | PARTS,
    FieldKind.ANY: EQUALITY | ORDER | PARTS,
}

FIELDS: Mapping[str, FieldKind] = {
    "modality": FieldKind.TEXT,
    "media_type": FieldKind.TEXT,
    "size_bytes": FieldKind.NUMBER,
    "path": FieldKind.PATHS,
    "title": FieldKind.TEXT,
    "tags": FieldKind.TEXTS,
    "language": FieldKind.TEXT,
    "modified": FieldKind.TIME,
    "taken": FieldKind.TIME,
    "latitude": FieldKind.NUMBER,
    "longitude": FieldKind.NUMBER,
    "camera_model": FieldKind.TEXT,
    "rating": FieldKind.NUMBER,
    "city": FieldKind.TEXT,
    "region": FieldKind.TEXT,
    "country": FieldKind.TEXT,
    "places": FieldKind.TEXTS,
    "duration_s": FieldKind.NUMBER,
    "width": FieldKind.NUMBER,
    "height": FieldKind.NUMBER,
}


@dataclass(frozen=True)
class Compare:
    """One comparison of a field with a value, or with several.

    Args:
        field: one of `FIELDS`, or ``metadata.<key>.<key>…``.
        operator: see `Operator`.
        value: by operator: ``in`` and ``nin`` take a tuple, ``exists`` a bool, ``prefix`` a
            text, the others one value of the field's kind (a time is seconds since 1970).

    Raises:
        InputError: no such field, an operator that does not fit it, or a value of a different kind.
    """

    field: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]

    def __post_init__(self) -> None:
        field_kind = kind_of(self.field)
        if self.operator is Operator.EXISTS:
            if not isinstance(self.value, bool):
                raise InputError("exists", got=repr(self.value), wanted="true or false")
            return
        if self.operator not in _ALLOWED[field_kind]:
            allowed = ", ".join(sorted({*_ALLOWED[field_kind], Operator.EXISTS}))
            raise InputError(self.field, got=f"the operator {self.operator}", wanted=allowed)
        for value in self.values:
            _check_value(self.operator, field_kind, value)

    @property
    def values(self) -> tuple[Scalar, ...]:
        """The values compared with; one, except for ``in`` and ``nin``."""
        if self.operator in (Operator.IN, Operator.NIN):
            if not isinstance(self.value, tuple) or not 1 <= len(self.value) <= MAX_VALUES:
                raise InputError(
                    self.operator, got=_shown(self.value), wanted=f"a list of 1 to {MAX_VALUES}"
                )
            return self.value
        if isinstance(self.value, tuple):
            raise InputError(self.operator, got=_shown(self.value), wanted="one value")
        return (self.value,)


@dataclass(frozen=True)
class And:
    """Holds where all parts hold."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        _check_parts("and", self.parts)


@dataclass(frozen=True)
class Or:
    """Holds where one part holds."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        _check_parts("or", self.parts)


@dataclass(frozen=True)
class Not:
    """Holds where its part does not."""

    part: Filter


@dataclass(frozen=True)
class Under:
    """A comparison of paths within folders: each is compared without its folder's own path.

    Locations elsewhere do not count, so that nothing leaks about the paths of the folders
    themselves.

    Args:
        folders: URIs that end with a slash.
        comparison: of ``path``.
    """

    folders: tuple[str, ...]
    comparison: Compare

    def __post_init__(self) -> None:
        if not self.folders or not all(folder.endswith("/") for folder in self.folders):
            raise InputError(
                "folders", got=repr(self.folders), wanted="folders with a / at the end"
            )
        if kind_of(self.comparison.field) is not FieldKind.PATHS:
            raise InputError("comparison", got=self.comparison.field, wanted="path")


Filter: TypeAlias = And | Or | Not | Compare | Under


def asks_for_paths(filter: Filter, *, inside: bool = False) -> bool:
    """Whether a filter compares whole paths anywhere; with ``inside``, those in folders count, too.

    >>> asks_for_paths(Not(Compare("path", Operator.PREFIX, "/srv/")))
    True
    """
    match filter:
        case And(parts) | Or(parts):
            return any(asks_for_paths(operand, inside=inside) for operand in parts)
        case Not(part):
            return asks_for_paths(part, inside=inside)
        case Compare():
            return kind_of(filter.field) is FieldKind.PATHS
        case Under():
            return inside


def within(filter: Filter, folders: tuple[str, ...]) -> Filter:
    """The same filter, with paths compared only within these folders."""
    match filter:
        case And(parts):
            return And(tuple(within(operand, folders) for operand in parts))
        case Or(parts):
            return Or(tuple(within(operand, folders) for operand in parts))
        case Not(operand):
            return Not(within(operand, folders))
        case Compare():
            return Under(folders, filter) if asks_for_paths(filter) else filter
        case Under():
            return filter


def kind_of(field: str) -> FieldKind:
    """The kind of a field.

    Raises:
        InputError: there is no such field.
    """
    if field in FIELDS:
        return FIELDS[field]
    metadata_keys(field)
    return FieldKind.ANY


def metadata_keys(field: str) -> list[str]:
    """The path to a value in an asset's metadata.

    >>> metadata_keys("metadata.camera.model")
    ['camera', 'model']
    >>> metadata_keys("title")
    ['title']

    Raises:
        InputError: not a path into the metadata.
    """
    keys = field.removeprefix(METADATA).split(".")
    is_known = field.startswith(METADATA) or field in FIELDS
    if not is_known or len(keys) > _MAX_KEYS or not all(map(_is_key, keys)):
        near = "".join(f"{name}? One of " for name in get_close_matches(field, FIELDS, 1))
        raise InputError(
            "field",
            got=_shown(field),
            wanted=f"{near}{', '.join(FIELDS)}, or metadata.KEY.KEY… ({_MAX_KEYS} at most) with "
            "keys of letters, digits, space, _ and -",
        )
    return keys


def text_after(prefix: str) -> str | None:
    """The least text that is greater than all with this prefix; both compare by code points."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return None
    code = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if code == 0xD800 else code)  # surrogates are not characters


def _is_key(key: str) -> bool:
    return re.fullmatch(r"[\w -]{1,64}", key) is not None


def _check_value(operator: Operator, field_kind: FieldKind, value: Scalar) -> None:
    if isinstance(value, str):
        fits = (
            field_kind not in (FieldKind.NUMBER, FieldKind.TIME) and len(value) <= MAX_VALUE_CHARS
        )
        fits = fits and not _SURROGATE.search(value)
    elif isinstance(value, bool):
        fits = field_kind is FieldKind.ANY and operator not in ORDER
    elif isinstance(value, int | float):
        fits = (
            field_kind in (FieldKind.NUMBER, FieldKind.TIME, FieldKind.ANY)
            and operator is not Operator.PREFIX
        )
        fits = fits and math.isfinite(value) and abs(value) <= MAX_NUMBER
    else:
        fits = False
    if not fits:
        expected = FieldKind.TEXT.value if operator is Operator.PREFIX else field_kind.value
        limits = f"; strings of at most {MAX_VALUE_CHARS} characters, numbers of at most 2**53"
        raise InputError(operator, got=_shown(value), wanted=expected + limits)


def _check_parts(name: str, parts: tuple[Filter, ...]) -> None:
    if not parts:
        raise InputError(name, got="an empty list", wanted="at least one condition")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
