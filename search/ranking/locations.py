"""Which of the places of a content is shown: one that exists, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_MOST_STATS = 32
_NOWHERE = -2.0
_ELSEWHERE = -1.0


def shown_location(locations: Sequence[str]) -> str:
    """The place whose file was changed last, of those that exist; empty if there is none.

    Where none exists on this machine, as where workers see other disks, it is the first one. So is
    one that is the only one: the disk is asked only where there is a choice, and then for the 32
    places at most that were seen last.
    """
    if len(locations) < 2:
        return next(iter(locations), "")
    changed_s = {uri: _changed_s(uri) for uri in locations[-_MOST_STATS:]}
    newest = max(changed_s, key=lambda uri: changed_s[uri])
    return locations[0] if changed_s[newest] == _NOWHERE else newest


def _changed_s(uri: str) -> float:
    """Seconds since 1970; what is no path of a machine comes after all files that exist."""
    path = Path(uri)
    if not path.is_absolute():
        return _ELSEWHERE
    try:
        return max(path.stat().st_mtime, 0.0)
    except (OSError, ValueError):
        return _NOWHERE
