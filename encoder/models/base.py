"""What a loaded model is: towers that meet in one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from encoder.space import Space
from encoder.towers.base import Tower
from encoder.types import Modality


@dataclass(frozen=True)
class Model:
    """Towers by modality, and the space in which their embeddings lie."""

    space: Space
    towers: Mapping[Modality, Tower]
