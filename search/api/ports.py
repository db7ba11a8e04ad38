"""What the API needs from the rest of the system; `workers.serve` gives it."""

from __future__ import annotations

from typing import Protocol

from encoder.types import Item, Modality


class Decoder(Protocol):
    """Turns the bytes of a file into what can be encoded."""

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """Decode a picture, sound or film; ``label`` names it in errors.

        Raises:
            MediaError: it is not of this modality, corrupt, or over a limit.
        """
        ...
