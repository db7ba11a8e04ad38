"""Kinds of parts: what prepares and opens them. To add one, add a file, and a line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from encoder.errors import ModelError
from encoder.models.sources.bundle.kinds.base import Kind

_HERE = "encoder.models.sources.bundle.kinds"
KINDS = {
    "minilm": f"{_HERE}.minilm",
    "e5": f"{_HERE}.e5",
    "conse": f"{_HERE}.conse",
    "image_head": f"{_HERE}.image_head",
    "aisfx": f"{_HERE}.aisfx",
    "whisper": f"{_HERE}.whisper",
    "pp_ocr": f"{_HERE}.pp_ocr",
}
"""The module of each, which has a ``KIND``."""


@cache
def kind_named(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ModelError: there is none of this name.
    """
    if name not in KINDS:
        raise ModelError(
            f"There is no kind of part called {name!r}.", remedy=f"Use one of {', '.join(KINDS)}."
        )
    kind: Kind = import_module(KINDS[name]).KIND
    return kind


def called(name: str) -> Any:
    """What a kind names as ``module:function``; imported only now, as it may need torch."""
    module, function = name.split(":")
    return getattr(import_module(module), function)
