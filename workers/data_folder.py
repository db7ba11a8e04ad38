"""Where uploads lie, for the server that takes them and for the workers that ingest them."""

from __future__ import annotations

from functools import cache

from search.store.open import default_folder
from search.uploads import UploadFolder


@cache
def shared_uploads() -> UploadFolder:
    """``$ANYMODAL_DATA/uploads``, or ``anymodal/uploads`` in the XDG data folder."""
    return UploadFolder(default_folder().parent / "uploads")
