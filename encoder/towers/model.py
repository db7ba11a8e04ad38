"""A loaded model: towers that share one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from encoder.space import Space
from encoder.towers.base import Tower
from encoder.types import Modality, ReadText, RgbPicture, Role, Utterance, Waveform


class TextReader(Protocol):
    """Reads the text in pictures; safe to use from threads."""

    def has_text(self, picture: RgbPicture) -> bool:
        """Whether there may be text in a picture; takes a fraction of the time of `read`."""
        ...

    def read(self, picture: RgbPicture) -> list[ReadText]:
        """The lines of text in a picture, in reading order; none where `has_text` sees none."""
        ...


@dataclass(frozen=True)
class Model:
    """Towers by modality, and the space in which their embeddings lie."""

    space: Space
    towers: Mapping[Modality, Tower]
    """They encode documents, and queries of the modalities that are not in ``queries``."""

    queries: Mapping[Modality, Tower] = field(default_factory=dict)
    """Towers for queries that are encoded differently, for instance with a different prompt. They
    run the same networks as the others, so they cost no memory."""

    transcribe: Callable[[Waveform, Role], list[Utterance]] | None = None
    """What is said in a sound, where the model can hear words; a query may take longer."""

    reader: TextReader | None = None
    """Reads the text in pictures, where the model can."""

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
        return Space(self.cut, self.space.identity) if self.cut else self.space
