"""A binding and its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from encoder.binding.ridge import LinearMap
from encoder.errors import ModelError
from encoder.space import Calibration, l2_normalize
from encoder.towers.base import Encoded, PluginTower, Prepared, forward
from encoder.types import Modality

_VERSION = 1


@dataclass(frozen=True)
class FeatureOrigin:
    """What computes a binding's features: a package and its version, or a model's spec.

    ``space`` is the fingerprint of the model; empty for a package's tower.
    """

    made_by: str
    space: str = ""


@dataclass(frozen=True, eq=False)
class Binding:
    """Maps a tower's features of one modality into a space.

    ``space`` is that space's fingerprint; ``calibration`` and ``figures`` were measured when the
    items were bound.
    """

    modality: Modality
    space: str
    origin: FeatureOrigin
    linear: LinearMap
    calibration: Calibration
    figures: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """What determines the vectors: the origin of the features, and the map."""
        weights = hashlib.sha256(self.linear.mean.tobytes() + self.linear.weight.tobytes())
        made_by = self.origin.space or self.origin.made_by  # a spec may hold a path
        return f"{made_by} sha256:{weights.hexdigest()}"

    def write(self, path: Path) -> None:
        """Write a file that `read_binding` reads, in one step."""
        facts = {
            "version": _VERSION,
            "modality": str(self.modality),
            "space": self.space,
            "origin": asdict(self.origin),
            "calibration": {"mu": self.calibration.mu, "c": self.calibration.c},
            "figures": self.figures,
        }
        scratch = path.with_name(f".{path.name}.part")
        try:
            with scratch.open("wb") as file:
                np.savez(
                    file,
                    facts=np.array(json.dumps(facts, sort_keys=True)),
                    mean=self.linear.mean,
                    weight=self.linear.weight,
                )
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def read_binding(path: Path) -> Binding:
    """Read what `Binding.write` wrote; raises a ModelError if it is missing or damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["facts"]))
            linear = LinearMap(arrays["mean"], arrays["weight"])
        if facts["version"] != _VERSION:
            raise ValueError(f"version {facts['version']}")
        return Binding(
            Modality(facts["modality"]),
            facts["space"],
            FeatureOrigin(**facts["origin"]),
            linear,
            Calibration(**facts["calibration"]),
            facts["figures"],
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise ModelError(
            f"{path} cannot be read as a binding ({type(error).__name__}: {error}).",
            remedy="Make it again with `anymodal models bind`.",
        ) from error


@runtime_checkable
class FeatureTower(Protocol):
    """A tower that knows more about an item than its vector holds."""

    def features(self, batch: Sequence[Prepared]) -> NDArray[np.float32]:
        """The features to bind instead of the tower's rows, float32 [len(batch), n_features]."""


def features_of(tower: PluginTower, batch: Sequence[Prepared]) -> NDArray[np.float32]:
    """A tower's features of prepared items, [len(batch), n_features].

    For a tower without ``features``, these are all rows of an item, concatenated.
    """
    if isinstance(tower, FeatureTower):
        return np.asarray(tower.features(batch), np.float32)
    return forward(tower, batch).rows.reshape(len(batch), -1)


class BoundTower:
    """A `Tower` of the space, over a tower that makes features and is not lazy."""

    def __init__(self, tower: PluginTower, linear: LinearMap) -> None:
        self._tower, self._linear = tower, linear

    def prepare(self, content: Any) -> Prepared:
        return self._tower.prepare(content)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """Unit rows [len(batch), embed_dim].

        Raises a ModelError if the tower gives another number of features than when it was bound.
        """
        features = features_of(self._tower, batch)
        if features.shape[1] != len(self._linear.mean):
            raise ModelError(
                f"{type(self._tower).__name__} returned {features.shape[1]} features, but the "
                f"binding was fitted on {len(self._linear.mean)}.",
                remedy="Bind it again with `anymodal models bind`.",
            )
        return Encoded(l2_normalize(self._linear.apply(features)))
