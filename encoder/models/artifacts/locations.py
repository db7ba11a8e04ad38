"""Where models are kept on this machine."""

from __future__ import annotations

from pathlib import Path

from encoder.system.environment import variable


def cache_home() -> Path:
    """Where models are kept: ``ANYMODAL_HOME``, else ``anymodal`` in the user's cache."""
    if home := variable("ANYMODAL_HOME"):
        return Path(home).expanduser()
    if cache := variable("XDG_CACHE_HOME"):
        return Path(cache) / "anymodal"
    return Path.home() / ".cache" / "anymodal"


def machine_cache() -> Path:
    """Where what this machine found or made is kept: ``ANYMODAL_CACHE``, else `cache_home`."""
    if cache := variable("ANYMODAL_CACHE"):
        return Path(cache).expanduser()
    return cache_home()
