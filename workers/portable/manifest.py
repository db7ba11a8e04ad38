"""What an exported store consists of: rewritten atomically after each part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoder.errors import InputError
from encoder.system.disk import writing
from search.errors import SpaceMismatchError

NAME = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class Part:
    """Assets and their segments, in two files.

    Args:
        name: the beginning of the files' names.
        n_assets: rows of the first file.
        n_segments: rows of the second.
        last: the greatest asset id.
        sha256: of each file, by its name.
    """

    name: str
    n_assets: int
    n_segments: int
    last: str
    sha256: Mapping[str, str]


@dataclass
class Manifest:
    """A store, as far as it is exported.

    Args:
        model: the model that made it.
        fingerprint: of the space.
        embed_dim: of the space.
        parts: in the order of asset ids.
        whole: whether nothing is missing.
    """

    model: str
    fingerprint: str
    embed_dim: int
    parts: list[Part] = field(default_factory=list)
    whole: bool = False

    def write(self, folder: Path) -> None:
        """Replace the file in a folder."""
        new = folder / f"{NAME}.new"
        with writing(new):
            new.write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=1), "utf-8")
            new.replace(folder / NAME)

    def check_space(self, fingerprint: str) -> None:
        """Raise SpaceMismatchError unless the vectors are of this space."""
        if fingerprint != self.fingerprint:
            raise SpaceMismatchError(
                f"The export holds embeddings from {self.model} ({self.fingerprint}), not from "
                f"{fingerprint}.",
                f"Use --model {self.model}, or another folder.",
            )


def read(folder: Path) -> Manifest | None:
    """The manifest of a folder; None if it has none.

    Raises:
        InputError: it is damaged, or of a different version.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found.pop("format") != _FORMAT:
            raise ValueError("of another version")
        parts = [Part(**part) for part in found.pop("parts")]
        return Manifest(**found, parts=parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "folder",
            got=f"{path}, which cannot be read ({error})",
            wanted="a folder made by `anymodal store export`",
        ) from None
