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


class Operator(StrEnum):
    """Operators of comparisons."""

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


class Kind(Enum):
    """What a field holds."""

    TEXT = "a string"
    NUMBER = "a number"
    TIME = "an ISO date such as '2026-01-31', or seconds since 1970"
    TEXTS = "a string (one tag)"
    PATHS = "a string (a path)"
    ANY = "a string, a number, true or false"


EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.IN, Operator.NIN})
ORDER = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
PARTS = frozenset({Operator.PREFIX, Operator.CONTAINS})

_ALLOWED = {
    Kind.TEXT: EQUALITY | ORDER | PARTS,
    Kind.NUMBER: EQUALITY | ORDER,
    Kind.TIME: EQUALITY | ORDER,
    Kind.TEXTS: frozenset({Operator.CONTAINS}),
    Kind.PATHS: EQUALITY | PARTS,
    Kind.ANY: EQUALITY | ORDER | PARTS,
}

FIELDS: Mapping[str, Kind] = {
    "modality": Kind.TEXT,
    "media_type": Kind.TEXT,
    "size_bytes": Kind.NUMBER,
    "path": Kind.PATHS,
    "title": Kind.TEXT,
    "tags": Kind.TEXTS,
    "language": Kind.TEXT,
    "modified": Kind.TIME,
    "taken": Kind.TIME,
    "latitude": Kind.NUMBER,
    "longitude": Kind.NUMBER,
    "camera_model": Kind.TEXT,
    "rating": Kind.NUMBER,
    "city": Kind.TEXT,
    "region": Kind.TEXT,
    "country": Kind.TEXT,
    "places": Kind.TEXTS,
    "duration_s": Kind.NUMBER,
    "width": Kind.NUMBER,
    "height": Kind.NUMBER,
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
        kind = kind_of(self.field)
        if self.operator is Operator.EXISTS:
            if not isinstance(self.value, bool):
                raise InputError("exists", got=repr(self.value), wanted="true or false")
            return
        if self.operator not in _ALLOWED[kind]:
            allowed = ", ".join(sorted({*_ALLOWED[kind], Operator.EXISTS}))
            raise InputError(self.field, got=f"the operator {self.operator}", wanted=allowed)
        for value in self.values:
            _check_value(self.operator, kind, value)

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
        asked: a comparison of ``path``.
    """

    folders: tuple[str, ...]
    asked: Compare

    def __post_init__(self) -> None:
        if not self.folders or not all(folder.endswith("/") for folder in self.folders):
            raise InputError(
                "folders", got=repr(self.folders), wanted="folders with a / at the end"
            )
        if kind_of(self.asked.field) is not Kind.PATHS:
            raise InputError("asked", got=self.asked.field, wanted="path")


Filter: TypeAlias = And | Or | Not | Compare | Under


def asks_for_paths(filter: Filter) -> bool:
    """Whether a filter compares whole paths anywhere.

    >>> asks_for_paths(Not(Compare("path", Operator.PREFIX, "/srv/")))
    True
    """
    match filter:
        case And(parts) | Or(parts):
            return any(map(asks_for_paths, parts))
        case Not(part):
            return asks_for_paths(part)
        case Compare():
            return kind_of(filter.field) is Kind.PATHS
        case Under():
            return False


def within(filter: Filter, folders: tuple[str, ...]) -> Filter:
    """The same filter, with paths compared only within these folders."""
    match filter:
        case And(parts):
            return And(tuple(within(part, folders) for part in parts))
        case Or(parts):
            return Or(tuple(within(part, folders) for part in parts))
        case Not(part):
            return Not(within(part, folders))
        case Compare():
            return Under(folders, filter) if asks_for_paths(filter) else filter
        case Under():
            return filter


def kind_of(field: str) -> Kind:
    """The kind of a field.

    Raises:
        InputError: there is no such field.
    """
    if field in FIELDS:
        return FIELDS[field]
    metadata_keys(field)
    return Kind.ANY


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
    known = field.startswith(METADATA) or field in FIELDS
    if not known or len(keys) > _MAX_KEYS or not all(map(_is_key, keys)):
        raise InputError(
            "field",
            got=_shown(field),
            wanted=f"{', '.join(FIELDS)}, or metadata.KEY.KEY… ({_MAX_KEYS} at most) with keys of "
            "letters, digits, space, _ and -",
        )
    return keys


def _is_key(key: str) -> bool:
    return re.fullmatch(r"[\w -]{1,64}", key) is not None


def _check_value(operator: Operator, kind: Kind, value: Scalar) -> None:
    if isinstance(value, str):
        fits = kind not in (Kind.NUMBER, Kind.TIME) and len(value) <= MAX_VALUE_CHARS
        fits = fits and _is_unicode(value)
    elif isinstance(value, bool):
        fits = kind is Kind.ANY and operator not in ORDER
    elif isinstance(value, int | float):
        fits = kind in (Kind.NUMBER, Kind.TIME, Kind.ANY) and operator is not Operator.PREFIX
        fits = fits and math.isfinite(value) and abs(value) <= MAX_NUMBER
    else:
        fits = False
    if not fits:
        wanted = Kind.TEXT.value if operator is Operator.PREFIX else kind.value
        limits = f"; strings of at most {MAX_VALUE_CHARS} characters, numbers of at most 2**53"
        raise InputError(operator, got=_shown(value), wanted=wanted + limits)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _check_parts(name: str, parts: tuple[Filter, ...]) -> None:
    if not parts:
        raise InputError(name, got="an empty list", wanted="at least one condition")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
