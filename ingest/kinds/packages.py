"""Which third-party packages made the segments of an asset, and in which version."""

from __future__ import annotations

from typing import Protocol

from encoder.errors import UnsupportedMediaError
from encoder.registry import origin_of, registered_modalities
from encoder.types import Modality
from ingest.kinds.registry import kind_of

READ_BY = "read_by"
"""The key for these packages in an asset's metadata."""


class Described(Protocol):
    """An asset, or what is stored of one."""

    @property
    def media_type(self) -> str: ...
    @property
    def modality(self) -> Modality: ...


def read_by(asset: Described) -> str:
    """The third-party packages that read such a file and embed its modality, if there are any.

    Raises:
        UnsupportedMediaError: nothing reads it, as when a package was uninstalled.
    """
    kind = kind_of(asset.media_type)
    tower = origin_of(asset.modality) if asset.modality in registered_modalities() else ""
    return ", ".join(dict.fromkeys(filter(None, [kind.made_by, tower])))


def is_outdated(asset: Described, noted: object) -> bool:
    """Whether a version other than the ``noted`` one reads such a file now; None means none."""
    try:
        return read_by(asset) != (noted or "")
    except UnsupportedMediaError:  # nothing reads it better
        return False
