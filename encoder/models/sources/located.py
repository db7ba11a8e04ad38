"""Where a hub model's files are on this machine, and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from encoder.models.sources.hub_files import fetch, hash_files
from encoder.models.spec import ModelSpec


@dataclass(frozen=True)
class Located:
    """A model's files.

    Args:
        folder: holds them.
        identity: which weights: a hash, or a name with a commit.
        where: ``model`` and ``revision`` on the hub; empty for a folder.
    """

    folder: Path
    identity: str
    where: Mapping[str, str] = field(default_factory=dict)


def locate(spec: ModelSpec) -> Located:
    """Fetch a hub model, or hash a folder.

    Raises:
        ModelError: not found or not reachable.
    """
    if spec.kind == "dir":
        folder = Path(spec.name)
        return Located(folder, folder_identity(folder))
    folder = fetch(spec.name, spec.revision)
    where = {"model": spec.name, "revision": folder.name}
    return Located(folder, f"{spec.name}@{folder.name}", where)


def folder_identity(folder: Path) -> str:
    """What identifies the weights and settings in a folder."""
    return f"blake3:{hash_files(folder)}"


def is_of(spec: ModelSpec, identity: str, revision: str | None) -> bool:
    """Whether an identity that `locate` gave is a model's. The hub is not contacted.

    Args:
        spec: the model.
        identity: the identity of what something was made from.
        revision: the revision that was asked for when it was made.
    """
    if spec.kind == "dir":
        return identity == folder_identity(Path(spec.name))
    name, _, commit = identity.partition("@")
    return name == spec.name and spec.revision in (None, commit, revision)
