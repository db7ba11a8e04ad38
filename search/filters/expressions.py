"""Filter expressions of Milvus, built from values that are always quoted.

Pure text work: nothing here knows a store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from encoder.errors import InputError

# Only these escapes are known to both Milvus Lite and the server's grammar.
_ESCAPES = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
)


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
    return f"{_name(field)} == {quote(value)}"


def beyond(field: str, value: str) -> str:
    """Rows whose ``field`` comes after ``value``.

    >>> beyond("asset_id", "a")
    'asset_id > "a"'
    """
    return f"{_name(field)} > {quote(value)}"


def among(field: str, values: Sequence[str]) -> str:
    """Rows whose ``field`` is one of ``values``, at least one.

    >>> among("asset_id", ["a", "b"])
    'asset_id in ["a", "b"]'

    Raises:
        InputError: no values; Milvus versions treat an empty list differently.
    """
    if not values:
        raise InputError("values", got="an empty list", wanted="at least one value")
    return f"{_name(field)} in [{', '.join(map(quote, values))}]"


def _name(field: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", field, re.ASCII):
        raise InputError("field", got=repr(field), wanted="the name of a field")
    return field
