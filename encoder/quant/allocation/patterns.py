"""Layers named by hand: by their name, by a part of it, or by a pattern. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from encoder.errors import InputError
from encoder.quant.schemes import Scheme


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The layers that ``pattern`` matches.

    It is read as the first of these that matches any layer: the layer's whole name; a module that
    holds it; the last part or parts of its name; a shell pattern over the whole name.

    Raises:
        InputError: it matches none; similar names are listed.

    >>> names = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "fc"]
    >>> match("conv1", names), match("layer1", names), match("*.conv*", names)
    (['conv1'], ['layer1.0.conv1', 'layer1.0.conv2'], ['layer1.0.conv1', 'layer1.0.conv2'])
    """
    names = list(names)
    readings = (
        [name for name in names if name == pattern],
        [name for name in names if name.startswith(f"{pattern}.")],
        [name for name in names if name.endswith(f".{pattern}")],
        [name for name in names if fnmatchcase(name, pattern)],
    )
    found = next((reading for reading in readings if reading), None)
    if found is None:
        raise InputError("layer", got=repr(pattern), wanted=_near(pattern, names))
    return found


def pinned(names: Iterable[str], keep: Mapping[str, str | Scheme]) -> dict[str, Scheme]:
    """The scheme of each layer that a pattern of ``keep`` matches; later patterns override.

    Raises:
        InputError: a pattern matches no layer, or a scheme is not known.

    >>> pins = pinned(["body.0", "head"], {"*": "int4", "head": "fp16"})
    >>> {name: scheme.name for name, scheme in pins.items()}
    {'body.0': 'int4', 'head': 'fp16'}
    """
    names = list(names)
    return {
        name: Scheme.parse(scheme)
        for pattern, scheme in keep.items()
        for name in match(pattern, names)
    }


def _near(pattern: str, names: list[str]) -> str:
    """A phrase with the names most similar to ``pattern``, or the first few."""
    by_part = {part: name for name in reversed(names) for part in (name, name.split(".")[-1])}
    near = dict.fromkeys(by_part[part] for part in get_close_matches(pattern, by_part, 5, 0.5))
    if near:
        return f"a layer's name or pattern; similar names are {', '.join(near)}"
    more = ", …" if len(names) > 8 else ""
    return f"a layer's name or pattern; there are {', '.join(names[:8])}{more}"
