"""An interface for counting what an encoder does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class EncoderObserver(Protocol):
    """Called for each load and each batch, in the thread that did it; it should be quick."""

    def loaded(self, part: str, seconds: float) -> None:
        """A part was loaded: ``model`` as a whole, or the tower of a modality on its first use."""
        ...

    def encoded(self, modality: str, lengths: Sequence[int]) -> None:
        """A batch ran; ``lengths`` are its items' lengths without padding (for text, in tokens)."""
        ...
