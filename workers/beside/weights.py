"""Terms of the command line that end in ``^`` and a weight."""

from __future__ import annotations

import os
import re

_WEIGHTED = re.compile(r"(.+)\^(\d+(?:\.\d+)?)", re.DOTALL)


def split_weight(words: str) -> tuple[str, float | None]:
    """Split a term into its text and its weight, if any.

    >>> split_weight("a beach^2.5")
    ('a beach', 2.5)
    >>> split_weight("2^n apples")
    ('2^n apples', None)
    """
    match = _WEIGHTED.fullmatch(words)
    return (match[1], float(match[2])) if match else (words, None)


def absolute(words: str) -> str:
    name, weight = split_weight(words)
    path = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 (no imports)
    if not os.path.exists(path):  # noqa: PTH110
        return words
    return path if weight is None else f"{path}^{words.rpartition('^')[2]}"
