"""Where stores keep their files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from encoder.system.environment import variable


def locks_folder(server: str, collection: str) -> Path:
    """Where processes of this user lock what they write to a server's collection."""
    name = hashlib.sha256(f"{server}/{collection}".encode()).hexdigest()[:16]
    return default_folder().parent / "locks" / name


def default_folder() -> Path:
    """``$ANYMODAL_DATA/store``, or ``anymodal/store`` in the XDG data folder."""
    if data := variable("ANYMODAL_DATA"):
        return Path(data).expanduser().absolute() / "store"
    # The XDG specification: a relative path is to be ignored.
    base = Path(variable("XDG_DATA_HOME") or "")
    if not base.is_absolute():
        base = Path.home() / ".local" / "share"
    return base / "anymodal" / "store"
