"""How likely a hit answers, in a word that people understand. Pure."""

from __future__ import annotations

_VERY_LIKELY, _LIKELY, _POSSIBLE = 0.75, 0.4, 0.15


def likelihood(probability: float | None, *, weak: bool) -> str:
    """A word for a probability; empty where nothing was judged.

    >>> likelihood(0.8, weak=False), likelihood(0.1, weak=False), likelihood(0.1, weak=True)
    ('very likely', 'possible', 'unlikely')
    """
    if probability is None:
        return ""
    if probability >= _VERY_LIKELY:
        return "very likely"
    if probability >= _LIKELY:
        return "likely"
    return "possible" if probability >= _POSSIBLE or not weak else "unlikely"
