"""The gate as a file: token rarity, thresholds, and what they were fitted to."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.settings import GateSettings
from encoder.errors import ModelError

_VERSION = 1


@dataclass(frozen=True, eq=False)
class GateFile:
    """Everything that the gate adds to a model.

    Args:
        rarity: see `encoder.dsre.idf.token_rarity`; uint8 [vocab_size].
        settings: thresholds, protection, floor, shortest text.
        facts: for readers: the model, the corpus, the measured loss. Not part of the identity.
    """

    rarity: NDArray[np.uint8]
    settings: GateSettings
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """What enters the space's fingerprint: equal only where embeddings are equal."""
        parts = json.dumps([_VERSION, asdict(self.settings)]).encode() + self.rarity.tobytes()
        return f"dsre:{hashlib.sha256(parts).hexdigest()[:16]}"

    def save(self, path: Path) -> None:
        """Write an ``.npz``, whole or not at all."""
        about = {"version": _VERSION, **asdict(self.settings), "facts": dict(self.facts)}
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, rarity=self.rarity, about=np.array(json.dumps(about)))
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> GateFile:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing, damaged or of another version.
            InputError: it holds settings that no gate can work with.
        """
        about, rarity = _read(path)
        if (version := about.pop("version", None)) != _VERSION:
            raise ModelError(
                f"{path} is a gate of version {version}; this program reads version {_VERSION}.",
                remedy=_REMEDY,
            )
        facts = about.pop("facts")
        return cls(
            rarity, GateSettings(**about | {"thresholds": tuple(about["thresholds"])}), facts
        )


_REMEDY = "Calibrate again with `anymodal dsre calibrate`, or run dense with enable_dsre=False."


def _read(path: Path) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about: dict[str, Any] = json.loads(str(arrays["about"]))
            rarity: NDArray[np.uint8] = arrays["rarity"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is not a gate file: {error}.", remedy=_REMEDY) from error
    if rarity.dtype != np.uint8 or rarity.ndim != 1:
        raise ModelError(
            f"{path}: its rarity is {rarity.dtype} {list(rarity.shape)}, not uint8 [vocab_size].",
            remedy=_REMEDY,
        )
    return about, rarity
