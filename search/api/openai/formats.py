"""How an embedding is written into an answer."""

from __future__ import annotations

import base64
from typing import Literal, TypeAlias

import numpy as np

from encoder.types import Embeddings

Format: TypeAlias = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]

_WIDEST = 8.0


def written(row: Embeddings, format: Format) -> list[float] | list[int] | str:
    """A unit vector [dim] in one of the formats that Cohere and Jina have.

    ``int8`` has the same scale for all vectors of a length, so that dot products are comparable: a
    value of 8/√dim, eight times the usual one, becomes 127. ``uint8`` is 128 more. Bits are 1
    where a value is positive, eight to a byte; ``binary`` is 128 less than ``ubinary``.
    ``base64`` is little-endian float32.

    >>> written(np.array([0.6, -0.8], np.float32), "int8")
    [13, -18]
    >>> written(np.array([0.6, -0.8], np.float32), "ubinary")
    [128]
    """
    if format == "float":
        return [float(value) for value in row]
    if format == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    if format in ("binary", "ubinary"):
        packed = np.packbits(row > 0).astype(np.int16)
        return [int(value) for value in packed - (128 if format == "binary" else 0)]
    steps = np.rint(row * (127 * np.sqrt(len(row)) / _WIDEST)).clip(-127, 127)
    return [int(value) for value in steps + (128 if format == "uint8" else 0)]
