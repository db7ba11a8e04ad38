"""The socket at which a server of this user answers for a store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.store.folders import default_folder
from search.store.open import store_name, store_target

_NAME = "api.sock"
_MOST_BYTES = 100


def socket_path(uri: str | None) -> Path | None:
    """In the store's folder, or in the data folder for any other store; None for ``memory:``."""
    if uri == "memory:":
        return None
    target = store_target(uri)
    if isinstance(target, Path):
        return target / _NAME
    key = hashlib.sha256(store_name(uri).encode()).hexdigest()[:16]
    return default_folder().parent / f"{key}-{_NAME}"


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name by which to bind or connect, valid in the block: the system allows only 107 bytes."""
    if len(os.fsencode(path)) < _MOST_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
