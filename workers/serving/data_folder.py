"""Paths of uploads and keys in the data folder, next to the embedded store."""

from __future__ import annotations

import hashlib
import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from search.store.folders import default_folder
from search.store.open import store_name
from search.uploads import UploadFolder

if TYPE_CHECKING:
    from search.api.config import ApiConfig

_KEY_DIGITS = 16


def keys_path(config: ApiConfig) -> Path:
    """``ANYMODAL_API__KEYS_FILE``, or ``keys.json`` in the data folder."""
    return config.keys_file or default_folder().parent / "keys.json"


def sessions_path() -> Path:
    """The file of browser sessions, shared by all API processes of a service."""
    return default_folder().parent / "sessions.json"


def uploads_of(store: str | None) -> UploadFolder:
    """The uploads of a store, in the data folder; those of ``memory:`` end with the process."""
    if store == "memory:":
        return _Passing()
    # Rows hold real paths, so resolve a data folder behind a link.
    root = (default_folder().parent / "uploads").resolve()
    name = store_name(store)
    key = hashlib.sha256(name.encode()).hexdigest()[:_KEY_DIGITS]
    return UploadFolder(root / key, root, name)


class _Passing(UploadFolder):
    """Uploads that are removed with this object, or at the end of the process."""

    def __init__(self) -> None:
        folder = Path(mkdtemp(prefix="anymodal-uploads-")).resolve()
        super().__init__(folder)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
