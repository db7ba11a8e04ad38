"""A loaded model: towers that share one space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from encoder.space import Space
from encoder.towers.base import Tower
from encoder.types import Modality


@dataclass(frozen=True)
class Model:
    """Towers by modality, and the space in which their embeddings lie."""

    space: Space
    towers: Mapping[Modality, Tower]
    """They encode documents, and queries of the modalities that are not in ``queries``."""

    queries: Mapping[Modality, Tower] = field(default_factory=dict)
    """Towers for queries that are encoded differently, for instance with a different prompt. They
    run the same networks as the others, so they cost no memory."""

    cuts: tuple[int, ...] = ()
    """Dimensions that an embedding can be cut to (Matryoshka, Kusupati et al. 2022)."""

    cut: int | None = None
    """How many dimensions are kept, one of ``cuts``; None for all. Towers still make whole rows."""

    side_by_side: bool = True
    """Whether towers gain from running at the same time: torch towers share one network, which
    takes all threads for itself."""

    @property
    def kept(self) -> Space:
        """The space of cut embeddings; the calibration of whole ones does not apply to it."""
        if not self.cut:
            return self.space
        whole = self.space
        return Space(self.cut, whole.identity, probes=whole.probes)
