"""What a tower is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoder.types import Embeddings

Prepared = NDArray[np.generic]
"""A prepared item. Its first axis is its length: tokens, blocks of sound, or a constant."""


class Tower(Protocol):
    """Turns items of one modality into embeddings of the shared space.

    Both methods are pure: the same content gives the same vector, alone or in any batch.
    """

    def prepare(self, content: Any) -> Prepared:
        """Make one item ready (tokenize, resize, take a spectrogram). Safe to call in threads.

        Args:
            content: what `encoder.types.Item` holds for this modality, already validated.
        """
        ...

    def forward(self, batch: Sequence[Prepared]) -> Embeddings:
        """Embed prepared items of similar length; float32 unit rows, [len(batch), embed_dim]."""
        ...
