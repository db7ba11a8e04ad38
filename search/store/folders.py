"""Where stores keep their files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from encoder.system.environment import data_folder


def locks_folder(server: str, collection: str) -> Path:
    """Where processes of this user lock what they write to a server's collection."""
    name = hashlib.sha256(f"{server}/{collection}".encode()).hexdigest()[:16]
    return default_folder().parent / "locks" / name


def default_folder() -> Path:
    """``store`` in the data folder."""
    return data_folder() / "store"
