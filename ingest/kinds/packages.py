"""Which packages of others made the segments of an asset, in which version."""

from __future__ import annotations

from typing import Protocol

from encoder.errors import UnsupportedMediaError
from encoder.registry import origin_of, registered_modalities
from encoder.types import Modality
from ingest.kinds.registry import kind_of

READ_BY = "read_by"
"""The name of that in an asset's metadata."""


class Described(Protocol):
    """An asset, or what is stored of one."""

    @property
    def media_type(self) -> str: ...
    @property
    def modality(self) -> Modality: ...


def read_by(asset: Described) -> str:
    """What reads such a file and embeds its modality, if packages of others do.

    Raises:
        UnsupportedMediaError: nobody reads it, as where a package was uninstalled.
    """
    kind = kind_of(asset.media_type)
    tower = origin_of(asset.modality) if asset.modality in registered_modalities() else ""
    return ", ".join(dict.fromkeys(filter(None, [kind.made_by, tower])))


def is_outdated(asset: Described, noted: object) -> bool:
    """Whether another version reads such a file now than is ``noted``; None is none."""
    try:
        return read_by(asset) != (noted or "")
    except UnsupportedMediaError:  # nothing reads it better
        return False
