"""Where models are kept on this machine."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path

from encoder.system.environment import variable

try:
    import fcntl
except ImportError:  # not on Windows, where open files cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


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


def hold(folder: Path, holder: object) -> None:
    """Mark a folder as in use for as long as an object lives, or until its process ends.

    Where the file system has no locks, this does nothing.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        weakref.finalize(holder, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def is_in_use(folder: Path) -> bool:
    """Whether any process holds a folder, this one included."""
    if fcntl is None:
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
