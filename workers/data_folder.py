"""Where uploads and keys lie: beside the embedded store, in the data folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from search.store.open import default_folder
from search.uploads import UploadFolder

if TYPE_CHECKING:
    from search.api.config import ApiConfig


def keys_path(config: ApiConfig) -> Path:
    """``ANYMODAL_API__KEYS_FILE``, or ``keys.json`` in the data folder."""
    return config.keys_file or default_folder().parent / "keys.json"


@cache
def shared_uploads() -> UploadFolder:
    """``$ANYMODAL_DATA/uploads``, or ``anymodal/uploads`` in the XDG data folder."""
    return UploadFolder(default_folder().parent / "uploads")
