"""Where models are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """Where models are kept: ``ANYMODAL_HOME``, else ``anymodal`` in the user's cache."""
    if home := os.environ.get("ANYMODAL_HOME"):
        return Path(home).expanduser()
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "anymodal"
    return Path.home() / ".cache" / "anymodal"


def machine_cache() -> Path:
    """Where is kept what this machine found or made: ``ANYMODAL_CACHE``, else `cache_home`."""
    if cache := os.environ.get("ANYMODAL_CACHE"):
        return Path(cache).expanduser()
    return cache_home()
