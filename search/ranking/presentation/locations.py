"""Which location of an asset is shown: one that exists, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_MOST_STATS = 32
_NOWHERE = -2.0
_ELSEWHERE = -1.0


def shown_location(locations: Sequence[str]) -> str:
    """The location whose file was changed last, of those that exist; empty if there is none.

    If none exists on this machine, as when workers have different disks, it is the first one. A
    single location is not checked: the disk is read only if there is a choice, and then for at
    most the 32 locations that were seen last.
    """
    if len(locations) < 2:
        return next(iter(locations), "")
    changed_s = {uri: _changed_s(uri) for uri in locations[-_MOST_STATS:]}
    newest = max(changed_s, key=lambda uri: changed_s[uri])
    return locations[0] if changed_s[newest] == _NOWHERE else newest


def _changed_s(uri: str) -> float:
    """Seconds since 1970; a URI that is not a path comes after all files that exist."""
    path = Path(uri)
    if not path.is_absolute():
        return _ELSEWHERE
    try:
        return max(path.stat().st_mtime, 0.0)
    except (OSError, ValueError):
        return _NOWHERE
